"""What trains a model: the one loop, checkpoints, devices, and the way of figures to MLflow."""

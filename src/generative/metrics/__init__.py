"""What measures a model from outside."""

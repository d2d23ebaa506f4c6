"""World models: V sees, M remembers and foresees, C acts; each is trained on what the one before made of the data."""

"""Layers by concept. They take plain numbers, never a block of params.yaml."""

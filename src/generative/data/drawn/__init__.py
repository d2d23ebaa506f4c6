"""Data sets that are drawn from a seed and need no network."""

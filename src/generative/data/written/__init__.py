"""Texts that are written by a probabilistic grammar and need no network: the probability of each is known."""

"""Data sets of episodes: a policy acts in an environment, and what it saw, did and earned is kept."""

"""ViZDoom's take cover, for those who have installed vizdoom."""

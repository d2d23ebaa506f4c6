"""Music: the sources, and in `notation/` the readers and the one form of a piece that they all end in."""

"""Data sets that are downloaded or brought along: published files, and a person's own."""

"""Generating until enough images are accepted, with a strength that follows each source."""

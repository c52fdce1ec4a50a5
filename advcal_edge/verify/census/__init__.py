"""A census of an engine: everything in it that decides by the values of its input, and what explains it."""

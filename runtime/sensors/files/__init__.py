"""Readers of the sensors' file formats. Files are untrusted, and no code in them is executed."""

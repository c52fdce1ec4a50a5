"""Readers of the file formats that sensors record to. Nothing in a file is trusted, and nothing in it is executed."""

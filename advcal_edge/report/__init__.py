"""Render the JSON document of `verify`: an HTML page and a table for the terminal."""

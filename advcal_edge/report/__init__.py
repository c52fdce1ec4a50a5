"""Reports for people, made from the JSON document of `verify` alone: a page and a table for the terminal."""

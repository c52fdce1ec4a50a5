"""One view per sensor: its frames as people read them, in the sensor's own units."""

"""How bindlite's trunks are trained: clothes alone, motions alone, and six sensors together on the same scenes."""

"""The engine itself in synthetic markets, many seeds, faster than time."""

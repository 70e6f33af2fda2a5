"""The laboratory: the engine itself in synthetic markets, faster than time."""

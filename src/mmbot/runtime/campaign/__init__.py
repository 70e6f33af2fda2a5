"""The program against a venue and a network that fail, drawn from a seed, in simulated time."""

"""A market maker for one Hyperliquid perpetual."""

"""From the pairs of a tile to estimates: tests, gates, tiers."""

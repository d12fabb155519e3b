"""Everything that touches storage: sources, prepared variables, shards, manifests, matrices."""

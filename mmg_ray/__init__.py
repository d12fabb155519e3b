"""MI networks with error bars over very many variable pairs (MMG, arXiv 2509.20609)."""

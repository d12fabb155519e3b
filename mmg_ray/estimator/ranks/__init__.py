"""Variables as ranks: normal scores, levels, polynomials of ranks, ties."""

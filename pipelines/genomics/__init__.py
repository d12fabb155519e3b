"""Gene networks: from an expression matrix to edges, exports and figures. `python -m pipelines.genomics`."""

"""Gene networks: from an expression matrix to edges, exports and figures. `mmg-ray genomics`."""

"""Networks of cells, areas and stimuli, from a recording to edges, lags and directions. `mmg-ray neural`."""

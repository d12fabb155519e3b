"""From estimates of pairs to a network: significance and pruning, without Ray or I/O."""

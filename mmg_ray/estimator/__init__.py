"""The estimator: pure mathematics on tensors; no Ray, no files."""

"""What will be computed, and what it will cost: pure arithmetic on indices; no estimator, no files."""

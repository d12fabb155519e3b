"""Job entry points: each is one page over the library, run as ``python -m pipelines.NAME``."""

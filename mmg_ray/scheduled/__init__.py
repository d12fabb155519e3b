"""Runs that a clock starts: `nightly` does one, `submit` hands one to a Ray cluster."""

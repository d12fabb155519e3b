"""The denoisers, from closed forms to networks."""

"""A local page on a stored run: variables, their edges by evidence, pairs, modules. `mmg-ray explore`."""

"""Pairs of variables: tables of counts, directions, estimates."""

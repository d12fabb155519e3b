"""Dependence of pairs given other variables."""

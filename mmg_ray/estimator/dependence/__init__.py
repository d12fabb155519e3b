"""Tests of dependence, and the MI of pairs that need no denoiser."""

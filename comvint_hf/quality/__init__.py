"""Measures of a dataset: balance, bias, diversity, matching."""

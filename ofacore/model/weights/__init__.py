"""Weights by the names that every layout shares, and how they begin."""

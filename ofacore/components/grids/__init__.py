"""Grids of numbers of any rank: a whole modality from one call."""

"""Arrays of numbers, and vectors of whole items: heads, criteria, metrics."""

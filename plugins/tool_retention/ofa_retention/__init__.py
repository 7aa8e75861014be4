"""A generalist beside its specialists."""

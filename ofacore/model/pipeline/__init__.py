"""A model cut into stages, and a micro-batch passing through them."""

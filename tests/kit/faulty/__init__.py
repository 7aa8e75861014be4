"""A small correct plugin, and plugins with one fault each."""

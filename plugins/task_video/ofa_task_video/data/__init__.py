"""Data that the presets come with."""

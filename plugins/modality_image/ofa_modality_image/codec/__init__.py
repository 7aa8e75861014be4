"""Codecs of pictures: from pixels to a grid of codes, and back."""

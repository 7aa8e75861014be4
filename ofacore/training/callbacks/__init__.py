"""Conveniences beside the loop: checkpoints, validation, what a person sees."""

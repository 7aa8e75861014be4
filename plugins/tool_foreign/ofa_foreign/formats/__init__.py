"""Checkpoints of other projects: read without running code, matched by name, told in full where they do not fit."""

"""The configuration of a run: schema, files, overrides, validation."""

"""Pages about runs, made of the files that scoring leaves in a run folder; no model is loaded."""

"""Many processes: they join, are watched, and start again."""

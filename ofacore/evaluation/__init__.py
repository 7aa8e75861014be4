"""Scores of a trained model: metrics over rows, intervals, the report of a run."""

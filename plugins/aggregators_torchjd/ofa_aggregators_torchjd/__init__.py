"""Aggregators of the gradients of tasks."""

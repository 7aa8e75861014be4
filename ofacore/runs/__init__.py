"""Whole runs, and looks ahead at one."""

"""The optimiser of a run, its rates and its number formats."""

"""One module for each command of `ofa`."""

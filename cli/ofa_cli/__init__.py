"""The command line `ofa`."""

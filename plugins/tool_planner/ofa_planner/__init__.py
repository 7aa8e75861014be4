"""Choosing a layout before there is a machine to try it on: what it costs in memory, time and communication."""

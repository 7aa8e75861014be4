"""The core's own plugin: what its manifest announces, written as any other plugin would write it."""

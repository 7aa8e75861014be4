"""One step: losses weighed, faults traced, gradients put together."""

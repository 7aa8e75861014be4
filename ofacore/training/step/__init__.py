"""One step: losses weighed, teachers heard, faults traced, gradients put together."""

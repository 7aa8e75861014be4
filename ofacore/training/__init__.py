"""Training: loss terms, gradients, optimisers, schedules, the loop and its callbacks."""

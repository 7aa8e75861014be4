"""From examples to steps: which samples, packed how, as which tensors."""

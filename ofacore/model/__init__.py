"""The universal model: layers, attention, positions, experts, and the assembly of adapters and heads."""

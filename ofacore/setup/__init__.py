"""From a configuration to everything around the weights: plans, data, fitted preprocessors, vocabulary, encoders."""

"""What is wrong with an installed plugin, told to its author: one finding a line, with the place and the way out."""

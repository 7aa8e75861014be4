"""The table of tokens: one block for each vocabulary."""

"""The transformer between embeddings and heads, and what any other backbone must have."""

"""Inference: the decode session, the walk over target slots, embeddings, outputs."""

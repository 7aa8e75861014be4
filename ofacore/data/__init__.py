"""Data of a run: sources, columns, encoding of rows, batches, and the cursor that says which rows a step takes."""

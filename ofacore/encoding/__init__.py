"""From a row to an example: columns, template, segments, pieces, and what is learned of them."""

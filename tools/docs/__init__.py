"""Writers of the reference pages."""

"""What the kit adds to ``ofa plugins``."""

"""The object that a user holds: trained, asked, kept on disk."""

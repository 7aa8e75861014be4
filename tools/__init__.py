"""Commands of the repository itself; no package installs them."""

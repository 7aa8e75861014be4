"""The base of every error that a user can cause."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave is wrong: the message names the thing, the place and the way out.

    The command line prints the message alone and exits with 2; any other exception exits with 1.
    """

"""The one kind of error that is a user's to mend: its message says where, what and how."""

from __future__ import annotations


class InputError(Exception):
    """Bad input or a missing prerequisite.

    The message names the file (and row or key where there is one), the value found and what to do.
    Commands and scripts print it without a traceback and exit with status 2.
    """


class FaultError(InputError):
    """A fault of the machine, as a full disk: once it is mended, the same command goes on."""

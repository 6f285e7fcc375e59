"""The one kind of error that is a user's to mend: its message says where, what and how."""

from __future__ import annotations

LINE = 3000
"""Characters of a line of a message: ten quoted values of 300 (see `melanoma.wording`)."""

LINES = 60
"""Lines of a message: more than a terminal shows at once."""

_END = 600
"""Characters kept of a long line's end, where the message says what to do."""


_NOTE = 60
"""Characters that are left for saying how many characters are left out."""


class InputError(Exception):
    """Bad input or a missing prerequisite.

    The message names the file (and row or key where there is one), the value found and what to do.
    Commands and scripts print it without a traceback and exit with status 2. Whatever a file
    holds, the message stays readable: a line has at most `LINE` characters, a message `LINES`
    lines; what is left out is counted.

    Args:
        message: the text for people.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_bounded(str(message)))


class FaultError(InputError):
    """A fault of the machine, as a full disk: once it is mended, the same command goes on."""


def _bounded(text: str) -> str:
    """A message without what nobody would read."""
    lines = text.split("\n")
    if len(lines) > LINES:
        left_out = len(lines) - LINES + 1
        lines = [*lines[: LINES - 2], f"... {left_out} lines left out ...", lines[-1]]
    return "\n".join(_bounded_line(line) for line in lines)


def _bounded_line(line: str) -> str:
    if len(line) <= LINE:
        return line
    start = LINE - _END - _NOTE
    return f"{line[:start]} ... {len(line) - start - _END} characters left out ... {line[-_END:]}"

"""Counts and lists as people write them."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 10
"""Names spelt out in one message; the rest are counted."""

QUOTED = 300
"""Characters of a value that is quoted in a message."""

NAME = 120
"""Characters of one name in a list of names."""


def counted(number: int, thing: str, things: str = "") -> str:
    """A count with its noun, e.g. "1 image", "2 images".

    Args:
        number: how many.
        thing: the noun for one.
        things: the noun for any other number; "" adds an s.
    """
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def first_few(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first names of a list, each of a readable length, and how many more there are.

    Args:
        names: in the order in which they are named.
        shown: how many are.
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(shortened(name) for name in names[:shown]) + more


def shortened(text: str, limit: int = NAME) -> str:
    """A text of at most `limit` characters: of a longer one the start and three dots."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def quoted(value: object, limit: int = QUOTED) -> str:
    """A value in quotes as it was found, of a longer one the start and its length.

    Args:
        value: of any type; control characters are escaped.
        limit: characters that are shown.
    """
    text = repr(value)
    if len(text) <= limit:
        return text
    return f"{shortened(text, limit)} ({len(str(value))} characters)"

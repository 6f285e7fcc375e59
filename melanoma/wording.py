"""Counts and lists as people write them."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 10
"""Names spelt out in one message; the rest are counted."""


def counted(number: int, thing: str, things: str = "") -> str:
    """A count with its noun, e.g. "1 image", "2 images".

    Args:
        number: how many.
        thing: the noun for one.
        things: the noun for any other number; "" adds an s.
    """
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def first_few(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

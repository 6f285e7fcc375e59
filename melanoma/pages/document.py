"""A page's content as blocks, written as one HTML file or as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import pandas as pd

from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.pages import behaviour
from melanoma.pages.frame import frame
from melanoma.pages.numbers import Cell, Grid, grid

ROWS_SHOWN = 500
"""Rows of a table that a page shows; the file behind it holds all."""

_CHOICES = (2, 12)
"""Least and most different texts of a column that gets a filter."""

_LONG = 12
"""Rows from which on a table gets filters."""


@dataclass(frozen=True)
class Heading:
    """Title of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of plain texts."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        data: the file's bytes.
        media_type: e.g. "image/svg+xml".
        alt: what it shows, for those who don't see it.
        name: the file that it is saved as.
    """

    data: bytes
    media_type: str
    alt: str
    name: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        table: all rows, numbers in full precision.
        empty: the sentence that stands in its place where it has no row.
        names: headings of columns; others by their own name.
        title: above it, or "".
        folded: only opened on demand.
        filtered: a long one gets filters.
    """

    table: pd.DataFrame
    empty: str = "No rows."
    names: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    folded: bool = False
    filtered: bool = True


@dataclass(frozen=True)
class Download:
    """A file to take out of the page.

    Attributes:
        name: file name.
        data: its bytes.
        media_type: e.g. "text/csv".
    """

    name: str
    data: bytes
    media_type: str


Block = Heading | Paragraph | Points | Picture | Table | Download


@dataclass(frozen=True)
class Document:
    """A page.

    Attributes:
        title: plain text.
        blocks: in reading order; downloads go to the end.
    """

    title: str
    blocks: tuple[Block, ...]


def to_html(document: Document) -> str:
    """The page as one self-contained HTML file; tables can be sorted and filtered."""
    parts = [_html(block) for block in document.blocks if not isinstance(block, Download)]
    links = [
        _save_link(block) for block in document.blocks if isinstance(block, Picture | Download)
    ]
    if links:
        parts.append(f'<p class="downloads">Save: {", ".join(links)}</p>')
    return frame(
        document.title,
        "\n".join(parts),
        footer=NO_MEDICAL_DEVICE,
        style=behaviour.STYLE,
        script=behaviour.SCRIPT,
    )


def _save_link(block: Picture | Download) -> str:
    """A link that saves a file; that of a picture is filled in by the page, which holds it once."""
    name = escape(block.name)
    if isinstance(block, Picture):
        return f'<a download="{name}" data-picture>{name}</a>'
    return f'<a download="{name}" href="{_data_uri(block)}">{name}</a>'


def to_markdown(document: Document) -> str:
    """The page as Markdown, without its pictures and downloads."""
    parts = [f"# {document.title}"]
    for block in document.blocks:
        match block:
            case Heading(text):
                parts.append(f"## {text}")
            case Paragraph(text):
                parts.append(text)
            case Points(texts):
                parts.append("\n".join(f"- {text}" for text in texts))
            case Table():
                parts += [block.title] if block.title else []
                parts.append(_markdown(block))
            case Picture() | Download():
                pass
    return "\n\n".join(parts) + "\n"


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Points(texts):
            return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
        case Picture():
            image = f'<img class="figure" src="{_data_uri(block)}" alt="{escape(block.alt)}">'
            return f'<div class="picture" title="Click for its full size">{image}</div>'
        case Table():
            return _table(block)
    raise TypeError(f"{type(block).__name__} is shown elsewhere")


def _data_uri(block: Picture | Download) -> str:
    return f"data:{block.media_type};base64,{base64.b64encode(block.data).decode()}"


def _table(block: Table) -> str:
    if not len(block.table):
        return f'<p class="none">{escape(block.empty)}</p>'
    shown = grid(block.table.head(ROWS_SHOWN), block.names)
    head = "".join(
        f'<th scope="col"{_numeric(column)}><button type="button">{escape(name)}</button></th>'
        for name, column in zip(shown.headings, zip(*shown.rows, strict=True), strict=True)
    )
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in shown.rows)
    more = len(block.table) - len(shown.rows)
    note = f"<p>The first {ROWS_SHOWN} rows; the file has {more} more.</p>" if more > 0 else ""
    title = escape(block.title)
    filters = _filters(shown) if block.filtered else ""
    inside = (
        # Reached by the keyboard, whose arrows then move a wide table.
        f'{filters}<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{title or "The table"}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}"
    )
    if block.folded:
        summary = title or "The numbers"
        return f'<details class="table"><summary>{summary}</summary>{inside}</details>'
    heading = f"<h2>{title}</h2>" if title else ""
    return f'<section class="table">{heading}{inside}</section>'


def _numeric(column: Sequence[Cell]) -> str:
    return ' class="number"' if any(cell.number is not None for cell in column) else ""


def _cell(cell: Cell) -> str:
    if cell.number is None:
        return f"<td>{escape(cell.text)}</td>"
    return f'<td class="number" data-sort="{cell.number!r}">{escape(cell.text)}</td>'


def _filters(shown: Grid) -> str:
    """A choice for each column of a long table that holds a few texts again and again."""
    if len(shown.rows) < _LONG:
        return ""
    choices = []
    for place, (name, column) in enumerate(
        zip(shown.headings, zip(*shown.rows, strict=True), strict=True)
    ):
        texts = list(dict.fromkeys(cell.text for cell in column))
        fits = _CHOICES[0] <= len(texts) <= _CHOICES[1] and len(texts) < len(column)
        if fits and all(cell.number is None for cell in column):
            options = "".join(f"<option>{escape(text)}</option>" for text in texts if text)
            choices.append(
                f'<label>{escape(name)} <select data-column="{place}">'
                f'<option value="">all</option>{options}</select></label>'
            )
    if not choices:
        return ""
    return f'<div class="filters">{"".join(choices)}<output></output></div>'


def _markdown(block: Table) -> str:
    if not len(block.table):
        return block.empty
    shown = grid(block.table, block.names)
    lines = [shown.headings, ("---",) * len(shown.headings)]
    lines += [tuple(cell.text.replace("|", r"\|") for cell in row) for row in shown.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""The picture of one example, and the contact sheet of all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melanoma import drawing, isic
from melanoma.drawing import Cell, Pixels, Row
from melanoma.explain.scale import FAINT, OF_A_GALLERY
from melanoma.explain.selection import CHOICES

TILE = 320
"""Side of a picture in a panel, pixels."""

SHEET_TILE = 112
SHEET_COLUMNS = 4
"""Right and wrong examples of a class on the contact sheet, half of them random ones; it would not
be readable wider."""

_KEY_BAR = 120
"""Width of the colours in a colour key, pixels."""

_TEXT = 18
_CAPTION = 14
_NOTE = 11
_MARGIN = 16


@dataclass(frozen=True)
class Example:
    """One explained image.

    Attributes:
        told: image, diagnosis ("" where not known), predicted, correct, probability,
            melanoma_probability (NaN where not calibrated), age (NaN missing), sex, site
            ("" missing), the classes' probabilities and choice, named as in `selection.COLUMNS`;
            heat_maximum, melanoma_heat_maximum and grid ("7 x 7"), as in index.csv.
        pixels: uint8[s, s, 3], what the classifier saw.
        heat: float32[s, s] in 0..1, for the predicted class, in the scale of what stands beside it.
        melanoma_heat: float32[s, s] in 0..1, for melanoma, likewise.
    """

    told: Mapping[str, Any]
    pixels: Pixels
    heat: NDArray[np.float32]
    melanoma_heat: NDArray[np.float32]


def class_name(name: str) -> str:
    """Short and long name of a class, e.g. "MEL (melanoma)"."""
    return f"{name} ({isic.DIAGNOSIS_NAMES[name]})" if name in isic.DIAGNOSIS_NAMES else name


def metadata_text(told: Mapping[str, Any]) -> str:
    """Age, sex and site in words, saying what is unknown."""
    age = f"age {told['age']:.0f}" if _has_age(told) else "age unknown"
    return " · ".join([age, told["sex"] or "sex unknown", told["site"] or "site unknown"])


def _has_age(told: Mapping[str, Any]) -> bool:
    return not (told["age"] is None or math.isnan(told["age"]))


def describe(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Lines of text that tell of an example; the first is the verdict."""
    predicted = f"predicted {class_name(told['predicted'])}"
    probabilities = f"{told['predicted']} {told['probability']:.3f} (raw) · {melanoma_text(told)}"
    first = f"{told['image']}: {predicted}"
    if told["diagnosis"]:
        verdict = "Right" if told["correct"] else "Wrong"
        first = f"{verdict}: true class {class_name(told['diagnosis'])}, {predicted}"
        probabilities = f"{probabilities} · {told['image']}"
    return first, f"probability of {probabilities}", metadata_text(told)


def melanoma_text(told: Mapping[str, Any]) -> str:
    """The melanoma probability, and that it is the calibrated one."""
    melanoma = told["melanoma_probability"]
    return "MEL not calibrated" if math.isnan(melanoma) else f"MEL {melanoma:.3f} (calibrated)"


def plain_text(heat: NDArray[np.float32], name: str) -> tuple[str, ...]:
    """What a map that is dark throughout says, in two lines; nothing of one that shows places.

    Args:
        heat: float32[s, s], in the common scale.
        name: of the class.
    """
    strongest = float(heat.max(initial=0))
    if strongest >= FAINT:
        return ()
    if strongest:
        return "hardly any heat", f"for {name}"
    return "no place raised", f"the score of {name}"


def _heat_tile(pixels: Pixels, heat: NDArray[np.float32], name: str, side: int) -> Pixels:
    """A heat map over its picture; a dark one says what that means."""
    tile = drawing.fit(drawing.overlay(pixels, heat), side, side)
    size = _CAPTION if side == TILE else _NOTE
    lines = plain_text(heat, name)
    return drawing.write_over(tile, lines, size) if lines else tile


def _draw_key(pixels: Pixels, corner: tuple[int, int], size: int) -> Pixels:
    """Colours of heat from low to high, in a line of text of `size` pixels."""
    face = drawing.font(size)
    left, top = corner
    ramp = np.linspace(0, 1, _KEY_BAR, dtype=np.float32)
    bar = drawing.heat_picture(np.tile(ramp, (size, 1)))
    for piece in ("heat map: low", bar, "high"):
        if isinstance(piece, str):
            width = math.ceil(face.getlength(piece))
            pixels = drawing.write_text_lines(
                pixels,
                [piece],
                (left, top),
                size=size,
                width=width,
                first=drawing.QUIET,
                bold=False,
            )
        else:
            width = piece.shape[1]
            pixels[top + 2 : top + 2 + size, left : left + width] = piece
        left += width + _MARGIN // 2
    return pixels


def _colour(told: Mapping[str, Any]) -> tuple[int, int, int]:
    if not told["diagnosis"]:
        return drawing.INK
    return drawing.RIGHT if told["correct"] else drawing.WRONG


def draw_panel(example: Example, *, scale: str) -> Pixels:
    """Original, heat map of the predicted class and heat map of melanoma side by side, with text.

    Args:
        example: to draw.
        scale: what the colours mean: `scale.OF_A_GALLERY` or `scale.OF_A_PAIR`.

    Returns:
        uint8[h, w, 3].
    """
    told = example.told
    pixels = example.pixels
    predicted = str(told["predicted"])
    pictures = {
        "what the classifier saw": drawing.fit(pixels, TILE, TILE),
        f"heat for {predicted}, predicted: maximum {told['heat_maximum']:.2g}": _heat_tile(
            pixels, example.heat, predicted, TILE
        ),
        f"heat for MEL, melanoma: maximum {told['melanoma_heat_maximum']:.2g}": _heat_tile(
            pixels, example.melanoma_heat, isic.MELANOMA, TILE
        ),
    }
    lines = describe(told)
    top = _MARGIN + len(lines) * drawing.line_height(_TEXT) + _MARGIN // 2
    width = 2 * _MARGIN + 3 * TILE + 2 * _MARGIN // 2
    height = top + TILE + 3 * drawing.line_height(_TEXT) + _MARGIN
    panel = np.full((height, width, 3), drawing.PAPER, np.uint8)
    for place, picture in enumerate(pictures.values()):
        left = _MARGIN + place * (TILE + _MARGIN // 2)
        panel[top : top + TILE, left : left + TILE] = picture
    below = top + TILE + 4
    for place, caption in enumerate(pictures):
        corner = (_MARGIN + place * (TILE + _MARGIN // 2), below)
        panel = drawing.write_text_lines(
            panel, [caption], corner, size=_CAPTION, width=TILE, first=drawing.QUIET, bold=False
        )
    left, line = _MARGIN + TILE + _MARGIN // 2, drawing.line_height(_TEXT)
    panel = _draw_key(panel, (left, below + line), _CAPTION)
    panel = drawing.write_text_lines(
        panel,
        [f"{told['grid']} cells; {scale}"],
        (_MARGIN, below + 2 * line),
        size=_CAPTION,
        width=width - 2 * _MARGIN,
        first=drawing.QUIET,
        bold=False,
    )
    return drawing.write_text_lines(
        panel, lines, (_MARGIN, _MARGIN), size=_TEXT, width=width - 2 * _MARGIN, first=_colour(told)
    )


def draw_contact_sheet(examples: Sequence[Example], *, title: Sequence[str]) -> Pixels:
    """All classes on one page: right and wrong examples of each, original and heat map.

    Args:
        examples: with a known diagnosis, in the order of `selection.select_examples`.
        title: lines on top of the page; the first is bold.

    Returns:
        uint8[h, w, 3].
    """
    known = [name for name in isic.CLASSES if any(_is(one, name) for one in examples)]
    columns = {
        part: min(
            max((len(_of_part(examples, name, part)) for name in known), default=0),
            SHEET_COLUMNS // 2,
        )
        for part in product((True, False), CHOICES)
    }
    rows = [_sheet_row(name, examples, columns) for name in known]
    grid = examples[0].told["grid"] if rows else ""
    how_to_read = (
        f"Each pair: what the classifier saw, heat map ({grid} cells) of the class it predicted.",
        f"Colours: {OF_A_GALLERY}.",
        "Below: raw probability of the predicted class, calibrated probability of melanoma (MEL).",
    )
    # The last line is left for the colour key.
    lines = (*title, *how_to_read, "") if rows else tuple(title)
    headings, place = [], 0
    for (correct, choice), count in columns.items():
        if count:
            headings.append((place, f"{'right' if correct else 'wrong'}, {choice}"))
        place += count
    sheet = drawing.draw_sheet(
        rows, side=SHEET_TILE, title=lines, headings=headings, label_width=132
    )
    below = _MARGIN + (len(lines) - 1) * drawing.line_height(_TEXT)
    return _draw_key(sheet, (_MARGIN, below), _CAPTION) if rows else sheet


_Part = tuple[bool, str]
"""A part of the sheet: right or wrong, and how the example was chosen."""


def _is(example: Example, diagnosis: str) -> bool:
    return bool(example.told["diagnosis"] == diagnosis)


def _of_part(examples: Sequence[Example], diagnosis: str, part: _Part) -> list[Example]:
    return [
        one
        for one in examples
        if _is(one, diagnosis) and (bool(one.told["correct"]), one.told["choice"]) == part
    ]


def _sheet_row(name: str, examples: Sequence[Example], columns: Mapping[_Part, int]) -> Row:
    """A class's row: so many places for each part."""
    places: list[Cell | None] = []
    for part, count in columns.items():
        chosen = [_sheet_cell(example) for example in _of_part(examples, name, part)[:count]]
        places += chosen + [None] * (count - len(chosen))
    return Row((name, *isic.DIAGNOSIS_NAMES[name].split()), tuple(places))


def _sheet_cell(example: Example) -> Cell:
    told = example.told
    caption = (
        f"{told['predicted']} {told['probability']:.3f} (raw)",
        melanoma_text(told),
        *_sheet_metadata(told),
    )
    heat = _heat_tile(example.pixels, example.heat, str(told["predicted"]), SHEET_TILE)
    pictures = (example.pixels, heat)
    return Cell(pictures, caption, _colour(told))


def _sheet_metadata(told: Mapping[str, Any]) -> tuple[str, str]:
    """What `metadata_text` says, in lines that a pair of pictures is wide enough for."""
    age = f"{told['age']:.0f} years" if _has_age(told) else "age unknown"
    return f"{age} · {told['sex'] or 'sex unknown'}", told["site"] or "site unknown"

"""The picture of one example, and the contact sheet of all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melanoma import drawing, isic
from melanoma.drawing import Cell, Pixels, Row

TILE = 320
"""Side of a picture in a panel, pixels."""

SHEET_TILE = 112
SHEET_COLUMNS = 4
"""Right and wrong examples of a class on the contact sheet, which would not be readable wider."""

SCALED = "each map is scaled to its own maximum"
"""What keeps a reader from comparing the strengths of two maps."""

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
            ("" missing) and the classes' probabilities, named as in `selection.COLUMNS`.
        pixels: uint8[s, s, 3], what the classifier saw.
        heat: float32[s, s] in 0..1, for the predicted class.
        melanoma_heat: float32[s, s] in 0..1, for melanoma.
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


def empty_text(name: str) -> tuple[str, str]:
    """What a map without any heat says, in two lines."""
    return "no place raised", f"the score of {name}"


def _heat_tile(pixels: Pixels, heat: NDArray[np.float32], name: str, side: int) -> Pixels:
    """A heat map over its picture; an empty one says what that means."""
    tile = drawing.fit(drawing.overlay(pixels, heat), side, side)
    size = _CAPTION if side == TILE else _NOTE
    return tile if heat.any() else drawing.write_over(tile, empty_text(name), size)


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


def draw_panel(example: Example) -> Pixels:
    """Original, heat map of the predicted class and heat map of melanoma side by side, with text.

    Returns:
        uint8[h, w, 3].
    """
    told = example.told
    pixels = example.pixels
    predicted = str(told["predicted"])
    pictures = {
        "what the classifier saw": drawing.fit(pixels, TILE, TILE),
        f"heat map for {predicted}, the predicted class": _heat_tile(
            pixels, example.heat, predicted, TILE
        ),
        "heat map for MEL, melanoma": _heat_tile(
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
        [f"{SCALED}: maps tell places, not strengths"],
        (left, below + 2 * line),
        size=_CAPTION,
        width=2 * TILE,
        first=drawing.QUIET,
        bold=False,
    )
    return drawing.write_text_lines(
        panel, lines, (_MARGIN, _MARGIN), size=_TEXT, width=width - 2 * _MARGIN, first=_colour(told)
    )


def draw_contact_sheet(examples: Sequence[Example], *, title: str) -> Pixels:
    """All classes on one page: the first right and wrong examples of each, original and heat map.

    Args:
        examples: with a known diagnosis, in the order of `selection.select_examples`.
        title: first line of the page.

    Returns:
        uint8[h, w, 3].
    """
    known = [name for name in isic.CLASSES if any(_is(one, name) for one in examples)]
    columns = [
        max((_count(examples, name, correct) for name in known), default=0)
        for correct in (True, False)
    ]
    rows = [_sheet_row(name, examples, columns) for name in known]
    how_to_read = (
        f"Each pair: what the classifier saw, heat map of the class it predicted; {SCALED}.",
        "Below: raw probability of the predicted class, calibrated probability of melanoma (MEL).",
    )
    # The last line is left for the colour key.
    lines = (title, *how_to_read, "") if rows else (title,)
    headings = [
        (place, f"{verdict}, most confident first")
        for place, verdict, count in zip((0, columns[0]), ("right", "wrong"), columns, strict=True)
        if count
    ]
    sheet = drawing.draw_sheet(
        rows, side=SHEET_TILE, title=lines, headings=headings, label_width=132
    )
    below = _MARGIN + (len(lines) - 1) * drawing.line_height(_TEXT)
    return _draw_key(sheet, (_MARGIN, below), _CAPTION) if rows else sheet


def _is(example: Example, diagnosis: str) -> bool:
    return bool(example.told["diagnosis"] == diagnosis)


def _count(examples: Sequence[Example], diagnosis: str, correct: bool) -> int:
    """Examples of a class on one side of the sheet."""
    found = [one for one in examples if _is(one, diagnosis) and one.told["correct"] == correct]
    return min(len(found), SHEET_COLUMNS)


def _sheet_row(name: str, examples: Sequence[Example], columns: Sequence[int]) -> Row:
    """A class's row: so many places for right, then for wrong answers."""
    places: list[Cell | None] = []
    for correct, count in zip((True, False), columns, strict=True):
        chosen = [
            _sheet_cell(example)
            for example in examples
            if _is(example, name) and bool(example.told["correct"]) == correct
        ][:count]
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

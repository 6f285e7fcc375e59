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

_TEXT = 18
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
    age = told["age"]
    years = "age unknown" if age is None or math.isnan(age) else f"age {age:.0f}"
    return " · ".join([years, told["sex"] or "sex unknown", told["site"] or "site unknown"])


def number(probability: float) -> str:
    """A probability with three digits, or words where there is none."""
    return "not calibrated" if math.isnan(probability) else f"{probability:.3f}"


def describe(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Lines of text that tell of an example; the first is the verdict."""
    predicted = f"predicted {class_name(told['predicted'])}"
    probabilities = (
        f"raw probability of {told['predicted']} {told['probability']:.3f} · "
        f"calibrated melanoma probability {number(told['melanoma_probability'])}"
    )
    first = f"{told['image']}: {predicted}"
    if told["diagnosis"]:
        verdict = "Right" if told["correct"] else "Wrong"
        first = f"{verdict}: true class {class_name(told['diagnosis'])}, {predicted}"
        probabilities = f"{probabilities} · {told['image']}"
    return first, probabilities, metadata_text(told)


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
    pictures = {
        "what the classifier saw": pixels,
        f"heat map for {told['predicted']}, the predicted class": drawing.overlay(
            pixels, example.heat
        ),
        "heat map for MEL, melanoma": drawing.overlay(pixels, example.melanoma_heat),
    }
    lines = describe(told)
    top = _MARGIN + len(lines) * drawing.line_height(_TEXT) + _MARGIN // 2
    width = 2 * _MARGIN + 3 * TILE + 2 * _MARGIN // 2
    height = top + TILE + drawing.line_height(_TEXT) + _MARGIN
    panel = np.full((height, width, 3), drawing.PAPER, np.uint8)
    for place, picture in enumerate(pictures.values()):
        left = _MARGIN + place * (TILE + _MARGIN // 2)
        panel[top : top + TILE, left : left + TILE] = drawing.fit(picture, TILE, TILE)
    for place, caption in enumerate(pictures):
        corner = (_MARGIN + place * (TILE + _MARGIN // 2), top + TILE + 4)
        panel = drawing.write_text_lines(
            panel, [caption], corner, size=14, width=TILE, first=drawing.QUIET, bold=False
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
        "Each pair: what the classifier saw, and the heat map of the class it predicted.",
        "Below: predicted class, its probability; P(MEL): calibrated melanoma probability.",
    )
    lines = (title, *how_to_read) if rows else (title,)
    headings = [
        (place, f"{verdict}, most confident first")
        for place, verdict, count in zip((0, columns[0]), ("right", "wrong"), columns, strict=True)
        if count
    ]
    return drawing.draw_sheet(
        rows, side=SHEET_TILE, title=lines, headings=headings, label_width=132
    )


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
        f"{told['predicted']} {told['probability']:.3f}",
        f"P(MEL) {number(told['melanoma_probability'])}",
        metadata_text(told).replace("age ", ""),
    )
    pictures = (example.pixels, drawing.overlay(example.pixels, example.heat))
    return Cell(pictures, caption, _colour(told))

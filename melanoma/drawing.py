"""Pictures with captions, drawn pixel by pixel: contact sheets, panels, overlays.

Pillow and cv2 take a hundredth of the time a plotting library takes for a page of small pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from melanoma import files

Pixels = NDArray[np.uint8]
"""An RGB picture, uint8[h, w, 3]."""

INK = (26, 28, 32)
QUIET = (84, 88, 96)
PAPER = (255, 255, 255)
FRAME = (214, 217, 222)
RIGHT = (0, 104, 71)
WRONG = (178, 34, 34)
"""Colours of text and frames, each at least 4.5:1 against the white paper (WCAG 2.2, 1.4.3)."""

HEAT_COLOURS = "viridis"
"""Even in lightness and safe for the colour-blind; its blues and greens stand out on skin."""

_GAP = 8
_MARGIN = 16


@dataclass(frozen=True)
class Cell:
    """One place of a sheet: pictures side by side with a caption below.

    Attributes:
        pictures: uint8[h, w, 3] each; shrunk or enlarged to the sheet's side, proportions kept.
        caption: lines of text, shortened where they don't fit.
        colour: colour of the first caption line.
    """

    pictures: tuple[Pixels, ...]
    caption: tuple[str, ...] = ()
    colour: tuple[int, int, int] = INK


@dataclass(frozen=True)
class Row:
    """A row of a sheet.

    Attributes:
        label: lines of text at the left; the first is bold.
        cells: the places, from left to right; None leaves one empty.
    """

    label: tuple[str, ...]
    cells: tuple[Cell | None, ...]


@lru_cache(maxsize=16)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of all pictures (DejaVu Sans, which matplotlib brings) at `size` pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


def shorten(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """`text`, cut with an ellipsis where it is wider than `width` pixels."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def fit(rgb: Pixels, width: int, height: int) -> Pixels:
    """Scale a picture into a box, proportions kept, centred on a light ground.

    Args:
        rgb: uint8[h, w, 3].
        width: of the box, pixels.
        height: of the box, pixels.

    Returns:
        uint8[height, width, 3].
    """
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    w, h = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    box = np.full((height, width, 3), FRAME, np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    picture = np.ascontiguousarray(rgb)
    box[top : top + h, left : left + w] = cv2.resize(picture, (w, h), interpolation=method)
    return box


def heat_picture(heat: NDArray[np.float32]) -> Pixels:
    """Colours of a heat map.

    Args:
        heat: float32[h, w] in 0..1.

    Returns:
        uint8[h, w, 3].
    """
    table = np.asarray(mpl.colormaps[HEAT_COLOURS](np.arange(256))[:, :3] * 255).round()
    colours: Pixels = table.astype(np.uint8)
    return colours[np.clip(heat * 255, 0, 255).astype(np.uint8)]


def overlay(rgb: Pixels, heat: NDArray[np.float32], opacity: float = 0.5) -> Pixels:
    """A heat map over a picture.

    Args:
        rgb: uint8[h, w, 3].
        heat: float32[h, w] in 0..1, of the same size.
        opacity: of the heat map, 0 (not seen) to 1 (covers).

    Returns:
        uint8[h, w, 3].
    """
    blended = rgb * np.float32(1 - opacity) + heat_picture(heat) * np.float32(opacity)
    return blended.round().astype(np.uint8)


def write_png(path: Path | str, rgb: Pixels) -> None:
    """Write a picture (uint8[h, w, 3]) as PNG, atomically; the same pixels give the same bytes."""
    ok, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not ok:
        raise ValueError(f"{path}: the picture could not be encoded")
    with files.atomic(path) as partial:
        partial.write_bytes(data.tobytes())


def write_text_lines(
    rgb: Pixels,
    lines: Sequence[str],
    corner: tuple[int, int],
    *,
    size: int,
    width: float,
    first: tuple[int, int, int] = INK,
    bold: bool = True,
) -> Pixels:
    """Write lines of text into a picture.

    Args:
        rgb: uint8[h, w, 3].
        lines: top to bottom; each shortened to `width`.
        corner: left and top of the first line, pixels.
        size: of the font, pixels.
        width: greatest width of a line, pixels.
        first: colour of the first line; the others are quiet.
        bold: first line bold.

    Returns:
        uint8[h, w, 3], a new picture.
    """
    image = Image.fromarray(rgb)
    _write(ImageDraw.Draw(image), lines, corner, size=size, width=width, first=first, bold=bold)
    return np.asarray(image).copy()


def write_over(rgb: Pixels, lines: Sequence[str], size: int) -> Pixels:
    """Write lines of text on a dark ground across the lower edge of a picture.

    Args:
        rgb: uint8[h, w, 3].
        lines: top to bottom; each shortened to the picture's width.
        size: of the font, pixels.

    Returns:
        uint8[h, w, 3], a new picture.
    """
    height, width = rgb.shape[:2]
    top = height - len(lines) * line_height(size) - _GAP
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, top, width, height), INK)
    for number, line in enumerate(lines):
        corner = (_GAP // 2, top + _GAP // 2 + number * line_height(size))
        _write(draw, [line], corner, size=size, width=width - _GAP, first=PAPER, bold=False)
    return np.asarray(image).copy()


def line_height(size: int) -> int:
    """Distance of two lines of text of `size` pixels."""
    return round(size * 1.35)


def _write(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    corner: tuple[int, int],
    *,
    size: int,
    width: float,
    first: tuple[int, int, int] = INK,
    bold: bool = True,
) -> None:
    x, y = corner
    for number, line in enumerate(lines):
        face = font(size, bold=bold and number == 0)
        fill = first if number == 0 else QUIET
        draw.text((x, y + number * line_height(size)), shorten(line, face, width), fill, face)


def draw_sheet(
    rows: Sequence[Row],
    *,
    side: int,
    title: Sequence[str],
    headings: Sequence[tuple[int, str]] = (),
    text_size: int = 14,
    label_width: int = 120,
) -> Pixels:
    """Draw a contact sheet.

    Args:
        rows: all with the same number of pictures in a cell; cells may be None.
        side: width and height of a picture, pixels.
        title: lines of text on top; the first is bold.
        headings: (number of the column, text) above the first row.
        text_size: of captions, pixels; the title is larger.
        label_width: of the row labels, pixels; 0 leaves them out.

    Returns:
        uint8[h, w, 3].
    """
    columns = max((len(row.cells) for row in rows), default=0)
    cells = [cell for row in rows for cell in row.cells if cell]
    pictures = max((len(cell.pictures) for cell in cells), default=1)
    captions = max((len(cell.caption) for cell in cells), default=0)
    cell_width = pictures * side + (pictures - 1) * 2
    pitch = (cell_width + 2 * _GAP, side + 4 + captions * line_height(text_size) + 2 * _GAP)
    title_size = text_size + 4
    top = _MARGIN + len(title) * line_height(title_size) + _GAP
    left = _MARGIN + label_width
    head = line_height(text_size) + _GAP if headings else 0
    # A sheet of few pictures is as wide as its title, which else would be cut.
    faces = [font(title_size, bold=number == 0) for number in range(len(title))]
    lines = [math.ceil(f.getlength(line)) for f, line in zip(faces, title, strict=True)]
    least = max(640, max(lines, default=0) + 2 * _MARGIN)
    width = max(left + columns * pitch[0] + _MARGIN - 2 * _GAP, least)
    height = top + head + len(rows) * pitch[1] + _MARGIN
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    _write(draw, title, (_MARGIN, _MARGIN), size=title_size, width=width - 2 * _MARGIN)
    for column, text in headings:
        _write(draw, [text], (left + column * pitch[0], top), size=text_size, width=width)
    for i, row in enumerate(rows):
        y = top + head + i * pitch[1]
        _write(draw, row.label, (_MARGIN, y), size=text_size, width=label_width - _GAP)
        for j, cell in enumerate(row.cells):
            if cell:
                where = (left + j * pitch[0], y)
                _draw_cell(image, cell, where, side=side, size=text_size, width=cell_width)
    return np.asarray(image).copy()


def _draw_cell(
    image: Image.Image, cell: Cell, corner: tuple[int, int], *, side: int, size: int, width: int
) -> None:
    x, y = corner
    for number, picture in enumerate(cell.pictures):
        image.paste(Image.fromarray(fit(picture, side, side)), (x + number * (side + 2), y))
    where = (x, y + side + 4)
    _write(ImageDraw.Draw(image), cell.caption, where, size=size, width=width, first=cell.colour)

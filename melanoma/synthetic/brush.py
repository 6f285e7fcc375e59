"""What lesions are drawn with: outlines, blotches, dots, pigment networks, streaks and vessels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""float32[side, side], mostly 0 to 1."""

Colour = tuple[float, float, float]
"""RGB, 0 to 255."""

_SHIFT = 4
"""Fractional bits of the coordinates that cv2 draws with: smooth edges at small sizes."""


class Brush:
    """A square canvas on which one lesion is drawn, coordinates from -1 to 1.

    What is drawn depends on the generator and not on `side`: the same generator gives the same
    lesion at any resolution.

    Attributes:
        rng: where all chance comes from.
        side: pixels along each side.
        rgb: float32[3, side, side], 0 to 255: one plane a colour, quicker to blend.
        alpha: float32[side, side], 0 (skin) to 1 (lesion).
    """

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.rng = rng
        self.side = side
        line = np.linspace(-1.0, 1.0, side, dtype=np.float32)
        self._x, self._y = np.meshgrid(line, line)
        self.rgb = np.zeros((3, side, side), np.float32)
        self.alpha: Field = np.zeros((side, side), np.float32)
        self.depth: Field = np.zeros((side, side), np.float32)

    def vary(self, colour: Colour, spread: float = 12.0) -> Field:
        """`colour` moved by chance, in brightness more than in hue: float32[3]."""
        shift = self.rng.normal(0.0, spread) + self.rng.normal(0.0, spread / 4, 3)
        return np.clip(np.asarray(colour) + shift, 0, 255).astype(np.float32)

    def noise(self, cells: int) -> Field:
        """Smooth noise of about unit variance, `cells` bumps along each side."""
        lattice = self.rng.standard_normal((cells + 2, cells + 2)).astype(np.float32)
        return _resized(lattice, self.side)

    def outline(
        self, radius: float, *, ragged: float, stretch: float, soft: float, opacity: float = 1.0
    ) -> None:
        """Set the lesion's shape: `alpha`, and `depth` (1 in the centre, 0 on the border).

        Args:
            radius: mean radius in canvas units.
            ragged: 0 a smooth ellipse, 0.3 a very irregular border.
            stretch: ratio of the axes, 1 round.
            soft: width of the border in canvas units.
            opacity: alpha inside.
        """
        turn = self.rng.uniform(0, np.pi)
        cosine, sine, root = float(np.cos(turn)), float(np.sin(turn)), stretch**0.5
        along = (cosine * self._x + sine * self._y) / root
        across = (cosine * self._y - sine * self._x) * root
        wave = ragged * (0.7 * self.noise(3) + 0.3 * self.noise(9)) + 0.03 * self.noise(24)
        distance = cv2.magnitude(along, across) / radius + wave
        self.depth = np.clip(1.0 - distance, -1.0, 1.0, dtype=np.float32)
        # The far field stays skin, whatever the noise says there.
        fence = np.clip((0.97 - cv2.magnitude(self._x, self._y)) / 0.1, 0.0, 1.0)
        self.alpha = np.asarray(
            _sigmoid(self.depth * (radius / soft * 4.0)) * fence * opacity, np.float32
        )

    def soften(self) -> None:
        """Uneven pigment and a slightly soft focus, as skin and optics give."""
        mottle = 1.0 + 0.05 * self.noise(9) + 0.05 * self.noise(36)
        self.rgb *= mottle
        sigma = 0.004 * self.side
        for plane in (*self.rgb, self.alpha):
            cv2.GaussianBlur(plane, (0, 0), sigma, dst=plane)

    def fill(self, colour: Field) -> None:
        """Paint the whole canvas."""
        self.rgb[:] = colour[:, None, None]

    def tint(self, mask: Field, colour: Field | Colour, strength: float = 1.0) -> None:
        """Blend `colour` in where `mask` is: the colour changes, the lesion's shape does not."""
        weight = np.clip(mask, 0.0, 1.0, dtype=np.float32) * np.float32(strength)
        paint = np.asarray(colour, np.float32)
        for channel in range(3):
            plane = self.rgb[channel]
            plane += (paint[channel] - plane) * weight

    def cover(self, mask: Field) -> None:
        """Make the lesion opaque where `mask` is."""
        self.alpha = np.maximum(self.alpha, np.clip(mask, 0.0, 1.0))

    def patches(self, cells: int, share: float, *, sharp: float = 3.0) -> Field:
        """Irregular patches on about `share` of the canvas."""
        field = self.noise(cells)
        # Every fourth pixel is enough to find the level.
        level = float(np.quantile(field[::4, ::4], 1.0 - share))
        return _sigmoid((field - level) * (2 * sharp))

    def dots(
        self, count: int, size: tuple[float, float], *, reach: float = 0.6, blur: float = 0.01
    ) -> Field:
        """Round dots at chance places within `reach` of the centre, sizes in canvas units."""
        place = self.rng.normal(0.0, 0.55, (count, 2)).clip(-1.0, 1.0) * reach
        return self._discs(place, self.rng.uniform(*size, count), blur)

    def lattice(self, step: float, size: float, *, jitter: float = 0.3) -> Field:
        """Dots on a jittered hexagonal lattice: cobblestones, or the holes of a network."""
        line = np.arange(-1.0, 1.0, step)
        column, row = np.meshgrid(line, line * 0.87)
        column[1::2] += step / 2
        place = np.stack([column.ravel(), row.ravel()], axis=1)
        place += self.rng.uniform(-jitter, jitter, place.shape) * step
        sizes = size * self.rng.uniform(0.75, 1.2, len(place))
        return self._discs(place, sizes, step * 0.08)

    def network(self, step: float) -> Field:
        """Lines of a pigment network whose holes lie `step` apart."""
        return 1.0 - self.lattice(step, step * 0.36)

    def streaks(self, count: int, start: float, end: float, width: float) -> Field:
        """Radial lines from radius `start` to `end`."""
        angle = self.rng.uniform(0, 2 * np.pi, count)
        bend = angle + self.rng.normal(0, 0.08, count)
        first = start * self.rng.uniform(0.85, 1.0, count)
        last = end * self.rng.uniform(0.8, 1.1, count)
        lines = [
            np.array([[a * np.cos(t), a * np.sin(t)], [b * np.cos(s), b * np.sin(s)]])
            for a, b, t, s in zip(first, last, angle, bend, strict=True)
        ]
        return self._lines(lines, [width] * count)

    def vessels(self, count: int, reach: float, width: float) -> Field:
        """Branching vessels: wandering lines, each with thinner branches."""
        lines: list[npt.NDArray[np.float64]] = []
        widths: list[float] = []
        for _ in range(count):
            stem = self._walk(self.rng.uniform(-reach, reach, 2), reach, 14)
            lines.append(stem)
            widths.append(width)
            for branch in self.rng.integers(3, 12, 3):
                lines.append(self._walk(stem[branch], reach * 0.5, 8))
                widths.append(width * 0.6)
        return self._lines(lines, widths)

    def _walk(
        self, start: npt.NDArray[np.float64], length: float, steps: int
    ) -> npt.NDArray[np.float64]:
        heading = self.rng.uniform(0, 2 * np.pi) + np.cumsum(self.rng.normal(0, 0.35, steps))
        move = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length / steps)
        return np.asarray(start) + np.cumsum(move, axis=0)

    def _discs(
        self, place: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], blur: float
    ) -> Field:
        image = np.zeros((self.side, self.side), np.uint8)
        centres = self._pixels(place)
        radii = np.maximum(np.rint(sizes * self.side / 2 * (1 << _SHIFT)), 8).astype(int)
        for (column, row), radius in zip(centres.tolist(), radii.tolist(), strict=True):
            cv2.circle(image, (column, row), radius, 255, -1, cv2.LINE_AA, _SHIFT)
        return self._blurred(image, blur)

    def _lines(self, lines: list[npt.NDArray[np.float64]], widths: list[float]) -> Field:
        image = np.zeros((self.side, self.side), np.uint8)
        for line, width in zip(lines, widths, strict=True):
            thickness = max(1, round(width * self.side / 2))
            points = [self._pixels(line).astype(np.int32)]
            cv2.polylines(image, points, False, 255, thickness, cv2.LINE_AA, _SHIFT)
        return self._blurred(image, 0.004)

    def _pixels(self, place: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        return np.rint((place + 1.0) / 2 * (self.side - 1) * (1 << _SHIFT)).astype(np.int64)

    def _blurred(self, image: npt.NDArray[np.uint8], blur: float) -> Field:
        sigma = blur * self.side / 2
        if sigma > 0.3:
            cv2.GaussianBlur(image, (0, 0), sigma, dst=image)
        return image.astype(np.float32) / np.float32(255)


def _sigmoid(value: Field) -> Field:
    return np.asarray(0.5 + 0.5 * np.tanh(value * 0.5), np.float32)


def _resized(lattice: Field, side: int) -> Field:
    """Inner part of a cubic enlargement, so that no border shows."""
    cells = lattice.shape[0] - 2
    whole = round(side * (cells + 2) / cells)
    start = (whole - side) // 2
    enlarged = cv2.resize(lattice, (whole, whole), interpolation=cv2.INTER_CUBIC)
    inner = enlarged[start : start + side, start : start + side]
    return np.ascontiguousarray(inner, np.float32)

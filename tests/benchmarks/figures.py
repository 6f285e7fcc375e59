"""What a benchmark measures, held against its target; and CPU time, measured interleaved."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from melanoma.files import write_json, write_text

PASSED, FAILED, NOT_MEASURED = "passed", "failed", "not measured"

_HOLDS = {">=": operator.ge, "<=": operator.le}
_QUARTILES = (25, 50, 75)


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        area: images, hair, store, loader, ...
        what: is measured.
        values: repeated measurements; none where it couldn't be measured here.
        unit: x for a ratio.
        target: `>= 8` or `<= 3`; "" for a figure that is only told.
        against: the peer or the limit of a ratio; elsewhere how it was measured, or why it wasn't.
    """

    area: str
    what: str
    values: tuple[float, ...]
    unit: str
    target: str
    against: str

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def quartiles(self) -> tuple[float, float]:
        low, _, high = np.percentile(self.values, _QUARTILES)
        return float(low), float(high)

    @property
    def status(self) -> str:
        """passed, failed or not measured; "" without a target."""
        if not self.values:
            return NOT_MEASURED
        if not self.target:
            return ""
        relation, bound = self.target.split()
        return PASSED if _HOLDS[relation](self.median, float(bound)) else FAILED


def figure(
    area: str,
    what: str,
    values: float | Iterable[float],
    *,
    unit: str = "x",
    target: str = "",
    against: str = "",
) -> Figure:
    """A figure of one or several measurements."""
    several = (values,) if isinstance(values, int | float) else values
    return Figure(area, what, tuple(float(value) for value in several), unit, target, against)


def cpu_times(
    ways: Mapping[str, Callable[[], object]], *, rounds: int
) -> dict[str, tuple[float, ...]]:
    """CPU seconds of several ways, taken in turn so that a noisy neighbour meets them all.

    Args:
        ways: name -> what to do; each is done once before.
        rounds: how often each is measured.

    Returns:
        name -> seconds of this process, all threads, in each round.
    """
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return {name: tuple(seconds) for name, seconds in times.items()}


def ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Ratio in each round."""
    return tuple(a / b for a, b in zip(above, below, strict=True))


def to_table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    head = "| | figure | quartiles | target | | against |\n|---|---|---|---|---|---|\n"
    return head + "".join(map(_row, figures))


def _row(one: Figure) -> str:
    found, spread = "-", ""
    if one.values:
        found = f"{_number(one.median)}{'' if one.unit == 'x' else ' '}{one.unit}"
        spread = " to ".join(map(_number, one.quartiles)) if len(one.values) > 1 else ""
    target = one.target.replace(">= ", "≥ ").replace("<= ", "≤ ")
    cells = (f"{one.area}: {one.what}", found, spread, target, one.status, one.against)
    return f"| {' | '.join(cells)} |\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(figures: Sequence[Figure], folder: Path, *, about: Mapping[str, str]) -> None:
    """Write the figures as JSON and as a table.

    Args:
        figures: all of them.
        folder: gets benchmarks.json and benchmarks.md.
        about: what was measured on.
    """
    rows = [{**asdict(one), "status": one.status} for one in figures]
    write_json(folder / "benchmarks.json", {"about": dict(about), "figures": rows})
    told = "".join(f"{key}: {value}  \n" for key, value in about.items())
    write_text(folder / "benchmarks.md", f"{told}\n{to_table(figures)}")

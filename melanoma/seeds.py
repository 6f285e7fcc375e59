"""The trainings of an experiment, one for each fold and seed, and the names of their folders.

An experiment that is trained once differs from another one by the luck of its seed too. Trainings
with further seeds lie beside the first one's, whose folder is the same whether there are more or
not: fold0, fold1, fold0-seed1, fold1-seed1. Seed number j trains with `training.seed` + j.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PATTERN = r"\d+(?:-seed[1-9]\d*)?"
"""Regular expression of a training's name, as the wildcard `fold` takes it."""

_NAME = re.compile(r"(\d+)(?:-seed([1-9]\d*))?", re.ASCII)


class Run(NamedTuple):
    """One training of an experiment.

    Attributes:
        fold: number of its fold, from 0.
        seed: number of its seed, from 0.
    """

    fold: int
    seed: int

    @property
    def name(self) -> str:
        """What follows "fold" in the names of its folders and logs: "0", or "0-seed1"."""
        return f"{self.fold}-seed{self.seed}" if self.seed else f"{self.fold}"


def runs(folds: int, seeds: int) -> list[Run]:
    """All trainings of an experiment, those with the first seed first.

    Args:
        folds: splits.folds.
        seeds: training.seeds.
    """
    return [Run(fold, seed) for seed in range(seeds) for fold in range(folds)]


def parse(name: str) -> Run:
    """The fold and seed number behind a training's name.

    Args:
        name: as from `Run.name`.

    Raises:
        ValueError: another text.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no training's name; one is 0 or 0-seed1")
    return Run(int(found[1]), int(found[2] or 0))

"""Reading decision.json: it comes from outside as soon as somebody passes a checkpoint on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from melanoma.errors import InputError
from melanoma.evaluation.scaling import BOTH, CANDIDATES, STRENGTHS, TEMPERATURES
from melanoma.isic import CLASSES

NAME = "decision.json"
"""Of the file, beside a checkpoint or among an experiment's predictions."""

_Share = Annotated[float, Field(gt=0.0, le=1.0)]
_Shares = Annotated[dict[str, _Share], Field(min_length=len(CLASSES), max_length=len(CLASSES))]
_Probability = Annotated[float, Field(ge=0.0, le=1.0)]
_Count = Annotated[int, Field(ge=0)]


class _Checked(BaseModel):
    """Further keys, which decide nothing, are kept as they are."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Point(_Checked):
    goal: Literal["sensitivity", "specificity"]
    target: _Probability
    # Half-way above 1 where no probability reaches the target: see `choose_points`.
    threshold: float = Field(ge=0.0, le=1.1)
    sensitivity: _Probability
    specificity: _Probability
    lesions: _Count
    right: _Count


class _Priors(_Checked):
    trained: _Shares
    natural: _Shares


class _Set(_Checked):
    """What decides: once for images with metadata, once for those without."""

    temperature: float = Field(ge=TEMPERATURES[0], le=TEMPERATURES[1])
    strength: float | None = Field(ge=STRENGTHS[0], le=STRENGTHS[1])
    chosen: str
    at_bound: list[Literal["temperature", "strength"]]
    operating_points: dict[str, _Point]
    absent_points: dict[str, str]
    default: str | None

    @model_validator(mode="after")
    def _agrees(self) -> _Set:
        if self.chosen not in CANDIDATES:
            raise ValueError(f"chosen is {self.chosen!r}, expected one of {', '.join(CANDIDATES)}")
        if self.chosen != BOTH and self.strength:
            raise ValueError(f"strength is {self.strength} where {self.chosen!r} was chosen")
        if self.default is not None and self.default not in self.operating_points:
            raise ValueError(f"default {self.default!r} is none of the operating points")
        return self


class _Decision(_Set):
    classes: list[str]
    tta: bool
    priors: _Priors
    without_metadata: _Set | None
    # The models whose mean it is for: paths from the file's folder. Of one model it lies beside it.
    members: list[str] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> _Decision:
        if self.classes != list(CLASSES):
            raise ValueError(f"classes are {self.classes}, expected {list(CLASSES)}")
        for shares in (self.priors.trained, self.priors.natural):
            if set(shares) != set(CLASSES):
                raise ValueError("priors are of other classes")
        other = self.without_metadata
        if other is not None and set(other.operating_points) != set(self.operating_points):
            raise ValueError("without_metadata has other operating points")
        return self


def read_decision(path: Path | str) -> dict[str, Any]:
    """Read what `melanoma.evaluation.calibration.fit_decision` gave.

    Args:
        path: decision.json.

    Returns:
        The whole mapping; all that decides a prediction is of the right kind and range.

    Raises:
        InputError: no such file, or not a decision of this version of the code; names the key.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; the rules calibrate and combine write it")
    try:
        decision = _Decision.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{path}: no decision of this version of the code ({key + ': ' if key else ''}{why}); "
            "delete it and run the workflow again"
        ) from None
    return decision.model_dump(exclude_unset=True)


@dataclass(frozen=True)
class Decided:
    """A decision and the file that it is from."""

    values: Mapping[str, Any]
    file: Path

    @property
    def members(self) -> list[Path]:
        """The checkpoints whose mean it is for; none where it is of the one beside it."""
        names = self.values.get("members") or ()
        return [Path(os.path.normpath(self.file.parent / name)) for name in names]


def of_folder(folder: Path) -> Decided:
    """The decision of an experiment's models together.

    Args:
        folder: results/predictions/{experiment}.

    Raises:
        InputError: no such decision in it, or one that cannot be used.
    """
    file = folder / NAME
    decided = Decided(read_decision(file), file) if file.is_file() else None
    if decided is None or not decided.members:
        raise InputError(
            f"{folder}: is a folder without an experiment's {NAME}; name a finished run's "
            "results/predictions/EXPERIMENT, or a model.ckpt"
        )
    return decided


def of_experiment(checkpoints: Sequence[Path]) -> Decided | None:
    """The decision of the experiment that checkpoints are of, where it lies beside their folder.

    Args:
        checkpoints: results/training/{experiment}/fold{fold}/model.ckpt, wherever results/ lies.

    Returns:
        None where they are of several experiments, are given twice, or are no members of one.

    Raises:
        InputError: a decision that cannot be used.
    """
    folders = {path.absolute().parent.parent for path in checkpoints}
    if len(folders) != 1:
        return None
    (folder,) = folders
    file = folder.parent.parent / "predictions" / folder.name / NAME
    if not file.is_file():
        return None
    decided = Decided(read_decision(file), file)
    members = {path.resolve() for path in decided.members}
    given = {path.resolve() for path in checkpoints}
    return decided if given <= members and len(given) == len(checkpoints) else None

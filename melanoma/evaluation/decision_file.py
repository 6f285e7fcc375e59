"""Reading decision.json: it comes from outside as soon as somebody passes a checkpoint on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from melanoma.errors import InputError
from melanoma.isic import CLASSES

_Share = Annotated[float, Field(gt=0.0, le=1.0)]
_Shares = Annotated[dict[str, _Share], Field(min_length=len(CLASSES), max_length=len(CLASSES))]


class _Checked(BaseModel):
    """Further keys, which decide nothing, are kept as they are."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Point(_Checked):
    # Half-way above 1 where no probability reaches the target: see `choose_points`.
    threshold: float = Field(ge=0.0, le=1.1)


class _Priors(_Checked):
    trained: _Shares
    natural: _Shares


class _Decision(_Checked):
    classes: list[str]
    # Before it was noted it was not asked for either, as a rule.
    tta: bool = False
    temperature: float = Field(gt=0.0, le=1e6)
    prior_correction: bool
    priors: _Priors
    operating_points: dict[str, _Point]
    default: str | None

    @model_validator(mode="after")
    def _fits(self) -> _Decision:
        if self.classes != list(CLASSES):
            raise ValueError(f"classes are {self.classes}, expected {list(CLASSES)}")
        for shares in (self.priors.trained, self.priors.natural):
            if set(shares) != set(CLASSES):
                raise ValueError("priors are of other classes")
        if self.default is not None and self.default not in self.operating_points:
            raise ValueError(f"default {self.default!r} is none of the operating points")
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
        raise InputError(f"{path}: no such file; rule calibrate writes it")
    try:
        return _Decision.model_validate_json(path.read_bytes()).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{path}: no decision of this version of the code ({key + ': ' if key else ''}{why}); "
            "delete it and run the workflow again"
        ) from None

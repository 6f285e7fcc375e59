"""What is told of a wrong configuration: the key, the value found, and the key that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from melanoma.errors import InputError
from melanoma.wording import quoted

Section = TypeVar("Section", bound=BaseModel)


def build(kind: type[Section], values: Any, prefix: str) -> Section:
    """Validate values.

    Args:
        kind: the section that they are of.
        values: as read from YAML or JSON.
        prefix: where the section stands, e.g. "experiments.fusion.model"; "" for the whole.

    Returns:
        An instance of `kind`.

    Raises:
        InputError: names each wrong key, the value found and, for a misspelt key, the nearest.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_explain(kind, item, prefix) for item in _causes(error)]
        raise InputError("configuration: " + "; ".join(lines)) from None


def _causes(error: ValidationError) -> list[Any]:
    """The errors, without that of a list that is too short since what it held was refused."""
    items = error.errors()
    longer = {item["loc"][:-1] for item in items}
    return [item for item in items if item["type"] != "too_short" or item["loc"] not in longer]


def _explain(kind: type[BaseModel], item: Any, prefix: str) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join([*([prefix] if prefix else []), *path]) or "configuration"
    if item["type"] == "extra_forbidden":
        return f"{key}: no such key; {nearest(path[-1], _fields_at(kind, path[:-1]))}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = item["msg"].removeprefix("Value error, ")
    found = (
        "" if isinstance(item["input"], dict | BaseModel) else f" (found {quoted(item['input'])})"
    )
    return f"{key}: {message}{found}"


def _fields_at(kind: type[BaseModel], path: list[str]) -> list[str]:
    """Names of the fields of the section at `path` below `kind`."""
    for part in path:
        annotation: Any = kind.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        kind = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(kind.model_fields)


def yaml_fault(path: Path, error: yaml.YAMLError) -> str:
    """What is wrong with a YAML file, with file and line as an editor shows them."""
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return f"{path}: no YAML: {error}"
    place = f"{path}, line {mark.line + 1}, column {mark.column + 1}"
    if not error.context:
        return f"{place}: {error.problem}"
    begun = f", begun in line {error.context_mark.line + 1}" if error.context_mark else ""
    return f"{place}: {error.problem} ({error.context}{begun})"


def nearest(name: str, names: Iterable[str]) -> str:
    """A word of help for a name that there is not: the one that was meant, or all there are."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"

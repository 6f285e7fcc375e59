"""Every key of the configuration, by its declaration: wrong kind, out of range, misspelt."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from melanoma import config
from melanoma.errors import InputError

Path = tuple[str, ...]


def fields(kind: type[BaseModel], above: Path = ()) -> Iterator[tuple[Path, Any, list[Any]]]:
    """Each key as a path, its annotation and its bounds."""
    for name, field in kind.model_fields.items():
        path = (*above, name)
        options = [field.annotation, *typing.get_args(field.annotation)]
        inner = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if inner:
            yield from fields(inner[0], path)
        yield path, field.annotation, field.metadata


KEYS = list(fields(config.Config))
IDS = [".".join(path) for path, _, _ in KEYS]


def nested(path: Path, value: Any) -> dict[str, Any]:
    """A configuration with one key set; sections on the way are otherwise complete."""
    inner: dict[str, Any] = {path[-1]: value}
    if path[:2] in (("data", "train"), ("data", "test")) and len(path) == 3:
        inner = {"images": "a.zip", "ground_truth": "a.csv"} | inner
    for name in reversed(path[:-1]):
        inner = {name: inner}
    return inner


def wrong_kinds(annotation: Any) -> list[Any]:
    """Values that no reader could take for the key's."""
    options = set(typing.get_args(annotation)) if _is_union(annotation) else {annotation}
    wrong: list[Any] = [object(), [[]]]
    if not options & {dict} and typing.get_origin(annotation) is not dict:
        wrong.append({"a": {"b": 1}})
    if options & {int, float}:
        wrong += ["many", True, [1], "0x10", ""]
    if bool in options:
        wrong += ["perhaps", 7, [True]]
    if str in options:
        wrong += [5, True, ["a"]]
    if typing.get_origin(annotation) is typing.Literal:
        wrong += ["no such choice", 12.5]
    return wrong


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def beyond(bounds: list[Any], annotation: Any) -> list[Any]:
    """Values just outside each bound, and those that are in no range."""
    step = 1 if annotation is int else 1e-9
    out: list[Any] = []
    for bound in bounds:
        if isinstance(bound, Ge):
            out.append(bound.ge - step)
        elif isinstance(bound, Gt):
            out.append(bound.gt)
        elif isinstance(bound, Le):
            out.append(bound.le + step)
        elif isinstance(bound, Lt):
            out.append(bound.lt)
    return [*out, float("nan"), float("inf"), 10**30] if out else []


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        config.parse(values)
    return str(caught.value)


@pytest.mark.parametrize(("path", "annotation", "bounds"), KEYS, ids=IDS)
def test_a_wrong_kind_names_the_key(path, annotation, bounds):
    for value in wrong_kinds(annotation):
        assert ".".join(path) in refusal(nested(path, value)), value


BOUNDED = [key for key in KEYS if beyond(key[2], key[1])]


@pytest.mark.parametrize(
    ("path", "annotation", "bounds"), BOUNDED, ids=[".".join(key[0]) for key in BOUNDED]
)
def test_a_value_out_of_range_names_the_key_and_the_value(path, annotation, bounds):
    for value in beyond(bounds, annotation):
        told = refusal(nested(path, value))
        assert ".".join(path) in told
        assert repr(value) in told


@pytest.mark.parametrize("path", [path for path, _, _ in KEYS], ids=IDS)
def test_a_misspelt_key_is_named_with_the_right_one(path):
    misspelt = path[-1][:-1] + "_" + path[-1][-1]
    told = refusal(nested((*path[:-1], misspelt), None))
    assert misspelt in told
    assert f"did you mean {path[-1]!r}" in told


def test_numbers_are_bounded():
    numbers = {path for path, annotation, _ in KEYS if annotation in (int, float)}
    bounded = {path for path, _, _ in BOUNDED}
    assert numbers == bounded


def answer(function: Callable[[Any], config.Config], argument: Any) -> config.Config | str:
    """A configuration, or the message of the refusal; any other error is the test's failure."""
    try:
        return function(argument)
    except InputError as error:
        return str(error)


plain = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(), st.text(max_size=8)),
    st.sampled_from(["fusion", "auto", "lines", "age", "resnet18", "a.csv", "1e-3", "yes"]),
)
names = st.one_of(
    st.sampled_from([part for path, _, _ in KEYS for part in path]), st.text(max_size=6)
)
trees = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(names, plain), inner, max_size=4)
    ),
    max_leaves=15,
)
sections = st.sampled_from(list(config.Config.model_fields))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.one_of(sections, names), trees, max_size=4))
def test_any_tree_is_a_configuration_or_is_refused_with_a_message(values):
    parsed = answer(config.parse, values)
    if isinstance(parsed, str):
        assert len(parsed) > 15
        return
    for name in parsed.experiments:
        experiment = parsed.experiment(name)
        again = config.Experiment.from_settings(
            experiment.result_settings(), experiment.execution_settings()
        )
        assert again == experiment


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_file_is_a_configuration_or_is_refused_with_its_name(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    read = answer(config.read, path)
    assert isinstance(read, config.Config) or len(read) > 15

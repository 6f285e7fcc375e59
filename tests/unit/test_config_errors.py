"""Messages about a wrong configuration: each names its key, at whatever depth."""

import re

import pytest
from pydantic import BaseModel, ConfigDict

from melanoma import config
from melanoma.config_errors import build, nearest
from melanoma.errors import InputError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inner: Inner | None = None


def test_what_fits_is_built():
    assert build(Outer, {"inner": {"size": "3"}}, "") == Outer(inner=Inner(size=3))


@pytest.mark.parametrize(
    ("values", "prefix", "message"),
    [
        ({"iner": 1}, "", "configuration: iner: no such key; did you mean 'inner'?"),
        ({"inner": {"sise": 1, "size": 1}}, "a", "a.inner.sise: no such key; did you mean 'size'?"),
        ({"inner": {}}, "", "configuration: inner.size: missing"),
        ({"inner": {"size": "big"}}, "", "(found 'big')"),
        ([], "", "configuration: configuration: "),
    ],
)
def test_the_key_is_named(values, prefix, message):
    with pytest.raises(InputError) as error:
        build(Outer, values, prefix)
    assert message in str(error.value)


def test_every_wrong_key_is_told_at_once():
    with pytest.raises(InputError, match=r"a: no such key.*; b: no such key"):
        build(Outer, {"a": 1, "b": 2}, "")


def test_a_list_is_not_too_short_for_what_was_refused():
    with pytest.raises(InputError) as error:
        config.parse({"model": {"metadata_fields": ["agee"]}})
    assert "agee" in str(error.value)
    assert "at least" not in str(error.value)


def test_without_a_near_name_all_are_told():
    assert nearest("zzz", ("inner", "outer")) == "known: inner, outer"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("images: {size: 64\nmodel:\n", ", line 2, column 6: expected ',' or '}', but got ':'"),
        ("images: {size: 64\nmodel:\n", "(while parsing a flow mapping, begun in line 1)"),
        ("images:\n\tsize: 64\n", ", line 2, column 1: found character '\\t'"),
        ("images: size: 64\n", ", line 1, column 13: mapping values are not allowed here"),
        ("images: \0\n", ": no YAML: unacceptable character"),
    ],
)
def test_a_fault_of_yaml_is_told_by_file_and_line(tmp_path, text, told):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(f"{path}") + ".*" + re.escape(told)):
        config.read(path)

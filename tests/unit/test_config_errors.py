"""Messages about a wrong configuration: each names its key, at whatever depth."""

import pytest
from pydantic import BaseModel, ConfigDict

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


def test_without_a_near_name_all_are_told():
    assert nearest("zzz", ("inner", "outer")) == "known: inner, outer"

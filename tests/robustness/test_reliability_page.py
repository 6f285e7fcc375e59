"""docs/reliability.md promises nothing that no test proves."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from runs import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)`", PAGE)))
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("|") and not re.match(r"\|(-|.*\| Test \|$)", line)
]


@cache
def names_in(file: str) -> set[str]:
    path = ROOT / "tests" / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_named_test_exists(file, name):
    assert name in names_in(file)


def test_every_promise_names_a_test():
    assert len(ROWS) > 60
    bare = [row for row in ROWS if not re.search(r"\| `[^|]*::test_[^|]*` \|$", row)]
    assert bare == []


@pytest.mark.parametrize("script", re.findall(r"python (tests/\w+/\w+\.py)", PAGE))
def test_every_named_script_exists(script):
    assert (ROOT / script).is_file()

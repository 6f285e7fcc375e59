"""What the code may never contain, read from its syntax tree and from the rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from runs import ROOT

SOURCES = sorted([*(ROOT / "melanoma").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def calls() -> Iterator[tuple[str, ast.Call, dict[str, object]]]:
    """Place, node and constant keyword arguments of every call."""
    for path in SOURCES:
        for node in nodes(path):
            if isinstance(node, ast.Call):
                given = {
                    str(keyword.arg): getattr(keyword.value, "value", ...)
                    for keyword in node.keywords
                }
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node, given


def named(pattern: str) -> list[tuple[str, ast.Call, dict[str, object]]]:
    """Calls whose function is written so."""
    found = re.compile(pattern)
    return [call for call in calls() if found.fullmatch(ast.unparse(call[1].func))]


def imported() -> Iterator[tuple[str, str]]:
    """File and module of every import."""
    for path in SOURCES:
        for node in nodes(path):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield str(path.relative_to(ROOT)), alias.name
            elif isinstance(node, ast.ImportFrom):
                yield str(path.relative_to(ROOT)), str(node.module)


def test_checkpoints_are_never_loaded_with_code_in_them():
    loads = named(r"torch\.load|trainer\.fit")
    assert len(loads) >= 3
    assert [place for place, _, given in loads if given.get("weights_only") is not True] == []


FORBIDDEN: dict[str, Callable[[ast.Call, dict[str, object]], bool]] = {
    r"(np|numpy)\.load": lambda _, given: given.get("allow_pickle") is not False,
    r"yaml\.(load|unsafe_load|full_load)": lambda *_: True,
    r"eval|exec|compile|__import__": lambda *_: True,
    r"os\.(system|popen)|os\.exec\w*|os\.spawn\w*": lambda *_: True,
    r"subprocess\.\w+": lambda _, given: "shell" in given,
    r"tempfile\.mktemp|os\.tempnam": lambda *_: True,
    r"os\.(chmod|umask|fchmod)|[\w.]+\.chmod": lambda *_: True,
    r"pd\.(read_pickle|eval)|[\w.]+\.to_pickle": lambda *_: True,
    r"[\w.]+\.extract(all)?": lambda *_: True,
}
"""Function, as it is written -> when a call of it is wrong."""


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_nothing_is_executed_unpacked_or_made_writable(pattern):
    wrong = FORBIDDEN[pattern]
    assert [place for place, node, given in named(pattern) if wrong(node, given)] == []


@pytest.mark.parametrize(
    "module", ["pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "xmlrpc"]
)
def test_no_format_that_can_hold_code_is_read(module):
    assert [file for file, name in imported() if name.split(".")[0] == module] == []


TALKS = {
    "melanoma/transfer.py",
    "melanoma/download.py",
    "melanoma/doctor/surroundings.py",
}
"""What may open a connection: the downloads that the configuration names, and `melanoma doctor`."""


def test_nothing_else_talks_to_the_network():
    modules = re.compile(r"urllib\.(request|error)|http(\..*)?|ssl|requests|ftplib|smtplib|aiohttp")
    assert {file for file, name in imported() if modules.fullmatch(name)} <= TALKS


def test_http_is_allowed_by_nobody():
    assert [place for place, _, given in calls() if given.get("allow_http") is True] == []


def test_no_file_has_a_fixed_place_that_others_can_write_to():
    fixed = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"/(var/)?tmp\b|/dev/shm\b", node.value)
    ]
    assert fixed == []


PLAIN = {
    "params.launcher",
    "params.code",
    "params.tta",
    "params.accelerator",
    "params.subset",
    "params.folds",
    "params.per_class",
    "wildcards.fold",
    "wildcards.subset",
}
"""Placeholders that hold numbers, hashes or one of a few words, whatever the configuration says."""


def test_whatever_a_rule_gives_to_a_shell_is_quoted():
    found = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for block in re.findall(r"^    shell:\n((?:        .*\n)+)", path.read_text(), re.M):
            found |= set(re.findall(r"\{([^{}]+)\}", block))
    assert any(name.endswith(":q") for name in found)
    assert {name for name in found if not name.endswith(":q")} - PLAIN == {"params.weights"}
    training = (ROOT / "workflow" / "rules" / "training.smk").read_text()
    assert '"--weights {quote(input.weights)}"' in training


def test_every_dependency_is_locked_with_hashes():
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=\S)", text.replace("\\\n", " ").strip())
    assert len(entries) > 50
    loose = [
        e for e in entries if not re.match(r"[\w.\-\[\]]+==\S+.*--hash=sha256:[0-9a-f]{64}", e)
    ]
    assert loose == []

"""The hash of the code behind a result."""

import hashlib
import re
import shutil

import pytest

from melanoma import code_version
from melanoma.code_version import PACKAGE


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose files a test may change."""
    copy = tmp_path / "melanoma"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_version, "PACKAGE", copy)
    return copy


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    for function in (code_version._tree, code_version._imports, code_version._code_of):
        function.cache_clear()


def test_a_change_of_an_imported_module_counts(package):
    before = code_version.code_version("melanoma.shards")
    change(package / "hair" / "removal.py", "\nimport", "\nX = 1\nimport")
    assert code_version.code_version("melanoma.shards") != before


def test_comments_and_docstrings_do_not_count(package):
    before = code_version.code_version("melanoma.shards")
    change(package / "store.py", '"""', '"""Other words. ')
    path = package / "store.py"
    path.write_text(path.read_text() + "\n# a remark\n")
    assert code_version.code_version("melanoma.shards") == before


def test_plumbing_does_not_count(package):
    before = code_version.code_version("melanoma.training")
    change(package / "files.py", "\nimport", "\nX = 1\nimport")
    assert code_version.code_version("melanoma.training") == before


def test_figures_do_not_touch_training(package):
    before = code_version.code_version("melanoma.training", "melanoma.prediction")
    for path in (package / "evaluation").rglob("*.py"):
        path.write_text(path.read_text() + "\nX = 1\n")
    assert code_version.code_version("melanoma.training", "melanoma.prediction") == before


SAMPLE = '''
from __future__ import annotations

@cache
def of(first: int, *rest: str, last: float = 1e-3) -> list[int] | None:
    """Not counted."""
    match first:
        case 0 | 1:
            return None
    return [f"{each:>{first}.2f} \u00b5m" for each in rest if (n := len(each)) > last and n]

class Point(Base, kind="x"):
    """Not counted either."""
    y: int
'''


def test_the_version_of_python_does_not_count(tmp_path):
    (tmp_path / "sample.py").write_text(SAMPLE, encoding="utf-8")
    text = code_version._code_of(tmp_path / "sample.py")
    # As Python 3.11, 3.12 and 3.13 have it.
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "b1b64f1781f3"


def test_rules_that_draw_follow_the_style():
    drawing, naming = set(), set()
    for path in (PACKAGE.parent / "workflow/rules").glob("*.smk"):
        rules = re.findall(r"^rule (\w+):(.*?)(?=^rule |\Z)", path.read_text(), re.M | re.S)
        for name, text in rules:
            called = "".join(re.findall(r"code_version\((.*?)\)", text, re.S))
            modules = re.findall(r'"([\w.]+)"', called)
            if "melanoma.style" in modules:
                naming.add(name)
            if imports_of(modules) & {"melanoma.style"}:
                drawing.add(name)
    assert drawing
    assert drawing <= naming


def imports_of(modules):
    """What modules of the package import, also indirectly, that of plumbing included."""
    found, pending = set(), list(modules)
    while pending:
        for name, path in code_version._sources(pending.pop()).items():
            if name not in found and name not in code_version.NO_RESULT:
                found.add(name)
                imports = code_version._imports(path)
                pending += imports
                found |= {each for each in imports if each in code_version.NO_RESULT}
    return found


def test_an_unknown_module_is_refused():
    with pytest.raises(ValueError, match=r"melanoma\.nothing"):
        code_version.code_version("melanoma.nothing")

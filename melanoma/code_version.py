"""A hash of the package's code behind a result, so that a change of it re-runs what it touches.

Snakemake sees changes of rules and scripts, not of the modules that scripts import.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent

NO_RESULT = frozenset(
    {
        "melanoma.board",
        "melanoma.config",
        "melanoma.config_errors",
        "melanoma.errors",
        "melanoma.files",
        "melanoma.locks",
        "melanoma.logs",
        "melanoma.style",
    }
)
"""Modules that decide no result of those that import them: not followed.

What of `config` matters reaches a rule as its parameters; `style` is named by the rules that draw.
"""


def code_version(*modules: str) -> str:
    """Hash the named modules and every module of the package that they import, also indirectly.

    Comments, docstrings and formatting do not count.

    Args:
        modules: dotted names, e.g. "melanoma.hair"; a package stands for all its modules.

    Returns:
        12 hex digits.

    Raises:
        ValueError: a name that is no module of the package.
    """
    found: dict[str, Path] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        for module, path in _sources(name).items():
            if module not in found:
                found[module] = path
                pending += [i for i in _imports(path) if i not in found and i not in NO_RESULT]
    digest = hashlib.sha256()
    for module in sorted(found):
        digest.update(module.encode() + b"\0" + _code_of(found[module]).encode() + b"\0")
    return digest.hexdigest()[:12]


def _sources(name: str) -> dict[str, Path]:
    """Files of a module, or of all modules of a package."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    if path.is_dir():
        files = sorted(path.rglob("*.py"))
        return {".".join(f.relative_to(PACKAGE.parent).with_suffix("").parts): f for f in files}
    if path.with_suffix(".py").is_file():
        return {name: path.with_suffix(".py")}
    raise ValueError(f"{name} is no module of the package")


@cache
def _code_of(path: Path) -> str:
    """The file's syntax tree as text, docstrings left out: the same in every version of Python.

    `ast.dump` is not: newer versions have more fields, and show empty ones or not. Whether a name
    is read or written (ctx) follows from its place.
    """
    words: list[str] = []

    def put(node: object) -> None:
        if isinstance(node, list):
            words.append("[")
            for each in node:
                put(each)
            words.append("]")
        elif isinstance(node, ast.AST):
            words.append(type(node).__name__)
            for name in node._fields:
                value = getattr(node, name, None)
                if name == "body" and isinstance(value, list) and _is_docstring(value[:1]):
                    value = value[1:]
                if value is not None and value != [] and name != "ctx":
                    words.append(name)
                    put(value)
            words.append(")")
        else:
            words.append(ascii(node))

    put(_tree(path))
    return " ".join(words)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Modules of the package that a file imports, at any depth of nesting."""
    names: set[str] = set()
    for node in _statements(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names if a.name.startswith("melanoma."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("melanoma"):
            module = node.module or ""
            children = [f"{module}.{alias.name}" for alias in node.names]
            names.update(child for child in children if _is_module(child))
            if module != "melanoma" and _is_plain_module(module):
                names.add(module)
            elif module != "melanoma":
                names.add(f"{module}.__init__")
    return tuple(sorted(names))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements, which alone can be imports: expressions are not gone into."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for each in getattr(node, name, ()) if not isinstance(node, ast.expr) else ():
            yield each
            yield from _statements(each)


def _is_plain_module(name: str) -> bool:
    return PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py").is_file()


def _is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _is_docstring(first: list[ast.AST]) -> bool:
    """Whether the first statement of a body, if there is one, is a docstring."""
    return any(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for node in first
    )

"""A hash of the package's code behind a result, so that a change of it re-runs what it touches.

Snakemake sees changes of rules and scripts, not of the modules that scripts import.
"""

from __future__ import annotations

import ast
import hashlib
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
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Modules of the package that a file imports, at any depth of nesting."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
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


def _is_plain_module(name: str) -> bool:
    return PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py").is_file()


def _is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


@cache
def _code_of(path: Path) -> str:
    """The file's syntax tree as text, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]
    return _text_of(tree)


def _text_of(node: object) -> str:
    """A syntax tree as text, the same in every version of Python: `ast.dump` is not.

    Fields that are empty are left out: newer versions have more of them.
    """
    if isinstance(node, list):
        return f"[{', '.join(map(_text_of, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    filled = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(f'{name}={_text_of(v)}' for name, v in filled)})"


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )

"""What a check found, and how that is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from melanoma.wording import counted

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        level: error where the workflow can't do what is configured, warning where it may not.
        what: what was found.
        cure: what to do about it; "" when ok.
    """

    level: Level
    what: str
    cure: str = ""


def ok(what: str) -> Finding:
    """All is well."""
    return Finding("ok", what)


def warning(what: str, cure: str) -> Finding:
    """Something may go wrong."""
    return Finding("warning", what, cure)


def error(what: str, cure: str) -> Finding:
    """Something will go wrong."""
    return Finding("error", what, cure)


def render(findings: Iterable[Finding]) -> str:
    """The report as lines: one for each finding, its cure below, and a count at the end."""
    findings = list(findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.what}")
        if finding.cure:
            lines.append(f"{'':<8} -> {finding.cure}")
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    lines.append(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}")
    return "\n".join(lines) + "\n"


def failed(findings: Iterable[Finding]) -> bool:
    """Whether any finding is an error."""
    return any(finding.level == "error" for finding in findings)

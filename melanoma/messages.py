"""The last words of a run of the workflow: what came of it, or what failed and where it says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melanoma.files import read_json
from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.wording import counted

LOG_LINES = 6
"""Lines shown of a failed job's log, from its last error on."""

_FAILED = re.compile(r"^Error in rule (?P<rule>\w+):\n(?P<facts>(?:[ \t].*\n?)*)", re.M)
_FINISHED = re.compile(r"^Finished jobid: (\d+)\b", re.M)
_FACT = r"^\s+{}: (.*?)(?: \(check log file\(s\).*)?$"


@dataclass(frozen=True)
class Failed:
    """A job that failed for good.

    Attributes:
        rule: its rule.
        logs: its log files.
    """

    rule: str
    logs: tuple[Path, ...]


def failed_jobs(text: str) -> list[Failed]:
    """The jobs that failed and were not finished in a later attempt.

    Args:
        text: Snakemake's own log of a run.

    Returns:
        One each, in the order of their last failure.
    """
    found: dict[str, tuple[int, Failed]] = {}
    for match in _FAILED.finditer(text):
        job = _fact("jobid", match["facts"])
        logs = tuple(Path(name) for name in _fact("log", match["facts"]).split(", ") if name)
        found.pop(job, None)
        found[job] = (match.start(), Failed(match["rule"], logs))
    finished = {match[1]: match.start() for match in _FINISHED.finditer(text)}
    return [one for job, (place, one) in found.items() if finished.get(job, -1) < place]


def _fact(name: str, facts: str) -> str:
    match = re.search(_FACT.format(name), facts, re.M)
    return match[1] if match else ""


def failure(log: Path | None, folder: Path) -> str:
    """What failed, with the end of each log, and what to do.

    Args:
        log: Snakemake's own log of the run; None where there is none.
        folder: working directory of the run.
    """
    text = log.read_text(encoding="utf-8", errors="replace") if log and log.is_file() else ""
    lines = ["", f"Stopped before the end, in {folder}. What failed:"]
    for one in failed_jobs(text):
        lines.append(f"  {one.rule}")
        for path in one.logs:
            lines.append(f"    {path}")
            lines += [f"      {line}" for line in _last_error(folder / path)]
    if len(lines) == 2:
        lines[1] = f"Stopped before the end, in {folder}: the reason is above."
    lines.append("Mend it and start the same command again: what is done is kept.")
    lines.append("Symptoms, causes and cures: docs/troubleshooting.md, docs/cluster.md")
    return "\n".join(lines)


def _last_error(path: Path) -> list[str]:
    """A log's lines from its last error on, else its last ones."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [place for place, line in enumerate(lines) if " ERROR " in line]
    shown = lines[errors[-1] :] if errors else lines[-LOG_LINES:]
    if len(shown) <= LOG_LINES:
        return shown
    return [*shown[: LOG_LINES // 2], "…", *shown[-LOG_LINES // 2 :]]


def success(folder: Path, experiments: Sequence[str]) -> str:
    """What there is now: the headline figure of each experiment, and where to look.

    Args:
        folder: working directory of the run.
        experiments: their names, the main one first.
    """
    results = folder / "results"
    lines = ["", f"Done, in {folder}."]
    for name in experiments:
        path = results / "evaluation" / name / "metrics.json"
        if path.is_file():
            lines.append(f"  {name}: {_headline(read_json(path))}")
    places = (
        ("what the classifier is and what it reached", results / "MODEL_CARD.md"),
        ("where it looked", results / "gradcam/index.html"),
        ("the official test set", results / "official/index.html"),
    )
    lines += [f"  {what}: {path.relative_to(folder)}" for what, path in places if path.is_file()]
    if (results / "pages").is_dir():
        lines.append("  all in one file: add `--report results/report.html` to the same command")
    if (folder / "logs/tensorboard").is_dir():
        lines.append("  the course of training: tensorboard --logdir logs/tensorboard")
    return "\n".join([*lines, NO_MEDICAL_DEVICE])


def _headline(metrics: dict[str, Any]) -> str:
    subset = "test" if "test" in metrics else "val"
    value = metrics[subset]["balanced_accuracy"]
    ends = metrics["intervals"].get(subset, {}).get("balanced_accuracy")
    interval = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    shown = "undefined" if value is None else f"{value:.3f}{interval}"
    images = counted(metrics["n"][subset]["images"], "image")
    return f"balanced accuracy {shown} on {subset}, of {images}"

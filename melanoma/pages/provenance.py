"""Provenance as a page to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from melanoma.pages.document import Block, Document, Heading, Paragraph, Table

_SECTIONS = {
    "config": "Configuration",
    "versions": "Versions",
    "data": "Data",
    "images": "Image stores",
    "starts": "Starts of the trainings",
    "training": "Time and energy of the trainings",
    "time": "Time and memory of each rule",
    "results": "Results",
    "hardware": "Machine that wrote this down",
}
"""Sections of provenance.json in reading order; others follow under their own name."""

_MEASURED = {
    "training": {
        "starts": "starts",
        "measured": "starts measured (the others were killed)",
        "hours": "hours, of the starts measured",
        "gpu_hours": "GPU hours, of the starts measured",
        "kilowatt_hours": "energy of the GPUs (kWh)",
    },
    "time": {
        "jobs": "jobs",
        "hours": "hours, all jobs",
        "cpu_hours": "CPU hours, all jobs",
        "max_memory_mb": "most memory of a job (MB)",
    },
}
"""Sections of measurements: the words for their keys."""


def document(provenance: Mapping[str, Any], caption: str) -> Document:
    """A table for each section of provenance.json.

    Args:
        provenance: the file's content.
        caption: tells what to look for.
    """
    blocks: list[Block] = [
        Paragraph(" ".join(caption.split())),
        Paragraph(f"Commit: {provenance['commit']}"),
    ]
    names = [*_SECTIONS, *(name for name in provenance if name not in _SECTIONS)]
    for name in names:
        if name in provenance and name != "commit":
            rows = list(_leaves(_worded(name, provenance[name]), ""))
            table = pd.DataFrame(rows, columns=["key", "value"])
            blocks += [Heading(_SECTIONS.get(name, name)), Table(table, "None.")]
    return Document("Provenance", tuple(blocks))


def _worded(section: str, content: Any) -> Any:
    """A section with its keys in words, and its numbers without digits that tell nothing."""
    words = _MEASURED.get(section)
    if words is None:
        return content
    return {
        name: {words.get(key, key): _measured(value) for key, value in measured.items()}
        for name, measured in content.items()
    }


def _measured(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"


def _leaves(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """Every value of nested mappings, with its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}: {key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, "; ".join(map(str, value)) or "none"
    else:
        yield prefix, "none" if value is None else str(value)

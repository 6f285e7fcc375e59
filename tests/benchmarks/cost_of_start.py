"""What a process costs before it does anything: the rules' scripts, and Snakemake's dry run."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks.figures import Figure, figure

ROOT = Path(__file__).parents[2]
SHARD_SCRIPTS = ("inspect", "remove_hair", "resize")
ROUNDS = 5
EMPTY = "rule all:\n    output: touch('done')\n"


def measure() -> Iterator[Figure]:
    """Figures of the jobs that there are most of, and of the full configuration's dry run."""
    yield from _scripts()
    yield from _dry_run()


def cpu_of(command: Sequence[str], folder: Path = ROOT) -> float:
    """CPU seconds of a command and its children."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    start = spent()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    return spent() - start


def imports_of(script: Path) -> str:
    """The imports of a script, as a program."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.unparse(ast.Module(nodes, []))


def _scripts() -> Iterator[Figure]:
    for name in SHARD_SCRIPTS:
        program = imports_of(ROOT / "scripts" / f"{name}.py")
        command = [sys.executable, "-c", program]
        cpu_of(command)
        seconds = [cpu_of(command) for _ in range(ROUNDS)]
        yield figure("start", f"imports of {name}", seconds, unit="s", target="<= 1")


def _dry_run() -> Iterator[Figure]:
    """The full configuration's dry run, less an empty workflow's, taken in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Snakefile").write_text(EMPTY)
        full = ["snakemake", "-n", "-q", "--configfile", str(ROOT / "config/config.yaml")]
        ways = {
            "full": [*full, "--snakefile", str(ROOT / "workflow/Snakefile")],
            "empty": ["snakemake", "-n", "-q", "--cores", "1"],
        }
        rounds = [
            {way: cpu_of(command, folder) for way, command in ways.items()}
            for _ in range(ROUNDS + 1)
        ][1:]
    more = [each["full"] - each["empty"] for each in rounds]
    told = f"an empty workflow's {np.median([each['empty'] for each in rounds]):.1f} s"
    yield figure(
        "start", "dry run of ISIC 2019", more, unit="s more", target="<= 1.5", against=told
    )

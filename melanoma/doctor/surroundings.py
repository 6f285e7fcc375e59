"""What the doctor can see: commands, environment, folders and the profile; replaceable in tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from melanoma.cluster import Site
from melanoma.config_errors import yaml_fault
from melanoma.errors import InputError
from melanoma.provenance import usable_cores

PROFILE = Path("workflow/profiles/default/config.yaml")
NOT_FOUND = 127
TIMED_OUT = 124


@dataclass(frozen=True)
class Answer:
    """A command's exit status (127: not installed, 124: too slow) and its output."""

    status: int
    out: str = ""
    err: str = ""


@dataclass(frozen=True)
class Profile:
    """What the doctor needs of Snakemake's profile.

    Attributes:
        site: partitions and GPU type.
        account: account to charge, or "".
        status_command: squeue or sacct; "" leaves the choice to the executor.
        status_seconds: time from submission to the first status check.
        rules: resources that the user has set by hand, by rule.
        qos: quality of service of all jobs, or "".
        reservation: of all jobs, or "".
    """

    site: Site = field(default_factory=Site)
    account: str = ""
    status_command: str = ""
    status_seconds: int = 40
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    qos: str = ""
    reservation: str = ""


_TIME = re.compile(
    r"(\d+(?:\.\d+)?)\s*(w|weeks?|d|days?|h|hours?|m|mins?|minutes?|s|secs?|seconds?)(?![a-z])"
)
_MINUTES = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440, "w": 10080}
_MEGABYTES = {"": 1, "k": 1e-3, "m": 1, "g": 1e3, "t": 1e6}


def _in_numbers(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Resources of a rule, time in minutes and memory in MB; expressions stay as they are."""
    found = dict(asked)
    if "mem" in found:
        found.setdefault("mem_mb", found.pop("mem"))
    for name, read in (("runtime", _minutes), ("mem_mb", _megabytes)):
        value = found.get(name)
        if isinstance(value, str) and (number := read(value.strip("'\""))) is not None:
            found[name] = number
    return found


def _minutes(text: str) -> int | None:
    """Minutes in a time such as "8d" or "1h 30m"."""
    parts = _TIME.findall(text.lower())
    if not parts or _TIME.sub("", text.lower()).replace(",", "").strip():
        return None
    return round(sum(float(number) * _MINUTES[unit[0]] for number, unit in parts))


def _megabytes(text: str) -> int | None:
    """MB in a size such as "40GB" or "40 GiB"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if not match:
        return None
    number, unit, binary = match.groups()
    thousands = "kmgt".find(unit) + 1 if binary else 0
    return round(float(number) * _MEGABYTES[unit] * 1.024**thousands)


def read_profile(path: Path) -> Profile:
    """Read the profile, or give the defaults where there is none.

    Raises:
        InputError: the file is no YAML mapping.
    """
    if not path.is_file():
        return Profile()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        defaults = values.get("default-resources") or {}
        rules = values.get("set-resources") or {}
        return Profile(
            Site.from_defaults(defaults),
            str(defaults.get("slurm_account") or ""),
            values.get("slurm-status-command") or "",
            int(values.get("slurm-init-seconds-before-status-checks") or 40),
            {name: _in_numbers(asked or {}) for name, asked in rules.items()},
            qos=str(values.get("slurm-qos") or defaults.get("qos") or ""),
            reservation=str(values.get("slurm-reservation") or ""),
        )
    except yaml.YAMLError as problem:
        raise InputError(yaml_fault(path, problem)) from None
    except (AttributeError, TypeError, ValueError) as problem:
        raise InputError(
            f"{path}: not a profile as Snakemake reads it ({problem}): compare it with the one "
            "that came with this workflow"
        ) from None


def run_command(command: Sequence[str], seconds: float = 30) -> Answer:
    """Run a command without a shell and without input."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except (FileNotFoundError, PermissionError):
        return Answer(NOT_FOUND)
    except subprocess.TimeoutExpired:
        return Answer(TIMED_OUT, "", f"no answer within {seconds:.0f} s")
    return Answer(done.returncode, done.stdout, done.stderr)


def reachable(url: str) -> bool:
    """Whether a URL answers to HEAD within ten seconds; a refusal is an answer."""
    if not url.lower().startswith(("https:", "http:")):
        return False
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 (http and https alone)
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            return True
    except urllib.error.HTTPError as refusal:
        return refusal.code in (401, 403, 405)
    except OSError:
        return False


@dataclass(frozen=True)
class Surroundings:
    """This machine, as far as the checks look at it.

    Attributes:
        folder: the working directory of the workflow.
        profile: Snakemake's profile.
        environment: environment variables.
        run: runs a command.
        reachable: tells whether a URL answers.
        free_mb: free space of the file system of a folder.
        memory_mb: memory of this machine.
        cores: cores that this process may use.
    """

    folder: Path
    profile: Profile = field(default_factory=Profile)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    run: Callable[..., Answer] = run_command
    reachable: Callable[[str], bool] = reachable
    free_mb: Callable[[Path], float] = lambda folder: shutil.disk_usage(folder).free / 1e6
    memory_mb: float = field(default_factory=lambda: psutil.virtual_memory().total / 1e6)
    cores: int = field(default_factory=usable_cores)

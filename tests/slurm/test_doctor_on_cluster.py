"""The doctor on a real cluster: planted faults, and a test job of the shape of a training."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import Cluster

from melanoma import config, doctor
from melanoma.cluster import Site

pytestmark = pytest.mark.slurm


def diagnose(
    folder: Path, *, deep: bool = False, model: Any = None, training: Any = None, **profile: Any
) -> list[tuple[str, str]]:
    """Level and text of all findings; the data lie there, so that only the faults are found."""
    for name in ("images.zip", "ground_truth.csv", "metadata.csv"):
        path = folder / "resources/isic2019/train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    settings = config.parse(
        {
            "images": {"size": 64},
            "model": {"backbone": "resnet18", "pretrained": False} | (model or {}),
            "training": {"accelerator": "cpu", "gpus_per_node": 2, "nodes": 2} | (training or {}),
        }
    )
    here = doctor.surroundings(folder)
    here = replace(here, profile=replace(here.profile, site=Site("cpu", "gpu", ""), **{}))
    here = replace(here, profile=replace(here.profile, **profile))
    return [(each.level, each.what) for each in doctor.diagnose(settings, here, deep=deep)]


def faults(findings: list[tuple[str, str]]) -> list[str]:
    return [what for level, what in findings if level == "error"]


@pytest.mark.usefixtures("slurm")
def test_nothing_wrong_and_the_ranks_of_two_nodes_meet(tmp_path: Path) -> None:
    findings = diagnose(tmp_path, deep=True)
    assert [level for level, _ in findings if level != "ok"] == []
    said = " | ".join(what for _, what in findings)
    assert "4 of 4 ranks started on node1, node2" in said
    assert "this folder is visible on node1, node2" in said
    assert "4 ranks reached one another" in said


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status_command": "sacct"}, "accounting is off"),
        ({"training": {"gpus_per_node": 16, "nodes": 1}}, "at most 8 GPUs each"),
        ({"training": {"nodes": 4}}, "partition gpu has 2 such nodes"),
        ({"site": Site("cpu", "gpus", "")}, "'gpus' doesn't exist"),
        ({"site": Site("cpu", "gpu", "h100")}, "types: untyped"),
        ({"model": {"pretrained": True, "weights": "gone.pth"}}, "gone.pth doesn't exist"),
    ],
)
def test_planted_faults(tmp_path: Path, fault: dict[str, Any], words: str) -> None:
    found = faults(diagnose(tmp_path, **fault))
    assert any(words in what for what in found), found


@pytest.mark.usefixtures("slurm")
def test_the_command_tells_all_faults_at_once(tmp_path: Path) -> None:
    write = {
        "config/config.yaml": {
            "training": {"gpus_per_node": 16, "accelerator": "cpu"},
            "model": {"weights": "gone.pth"},
        },
        "profile/config.yaml": {
            "default-resources": {"slurm_partition": "cpus", "gpu_partition": "gpu"},
            "slurm-status-command": "sacct",
        },
    }
    for name, values in write.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "melanoma.cli", "doctor", "--profile=profile/config.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("error")]
    for words in (
        "accounting is off",
        "partition 'cpus' doesn't exist",
        "at most 8 GPUs each",
        "gone.pth doesn't exist",
    ):
        assert any(words in line for line in lines), done.stdout


def test_controller_away(slurm: Cluster, tmp_path: Path) -> None:
    slurm.stop_controller()
    try:
        assert any("controller doesn't answer" in what for what in faults(diagnose(tmp_path)))
    finally:
        slurm.start_controller()

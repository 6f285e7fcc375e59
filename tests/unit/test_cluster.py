from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from snakemake.iocontainers import ResourceList
from snakemake.resources import Resources
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

from melanoma import cluster, config
from melanoma.cluster import needs
from melanoma.cluster.site import Site


def experiment(
    nodes: int = 1, gpus: int = 4, size: int = 224, backbone: str = "resnet50", **training: Any
) -> config.Experiment:
    values = {
        "images": {"size": size},
        "model": {"backbone": backbone},
        "training": {"nodes": nodes, "gpus_per_node": gpus, **training},
    }
    return config.parse(values).experiment("fusion")


def sbatch_line(resources: needs.Resources) -> str:
    job = SimpleNamespace(
        resources=ResourceList(fromdict={k: v for k, v in resources.items() if v is not None}),
        threads=1,
    )
    validate_slurm_extra(job)
    params = dict.fromkeys(("run_uuid", "slurm_logfile", "comment_str"), "x")
    line = get_submit_command(job, params | {"account": "", "partition": "", "workdir": ""})
    kept = line.split("--comment x")[1] + set_gres_string(job)
    return " ".join(kept.split())


FULL = "--signal=USR1@120"


@pytest.mark.parametrize(
    ("nodes", "gpus", "line"),
    [
        (1, 1, "-t 150 --mem 8500 --nodes=1 --cpus-per-task=4 {} --gres=gpu:1"),
        (1, 4, "-t 60 --mem 21400 --nodes=1 --ntasks-per-node=4 --cpus-per-task=4 {} --gres=gpu:4"),
        (2, 1, "-t 90 --mem 8500 --nodes=2 --ntasks=2 --cpus-per-task=4 {} --gres=gpu:1"),
        (2, 2, "-t 60 --mem 12800 --nodes=2 --ntasks-per-node=2 --cpus-per-task=4 {} --gres=gpu:2"),
        (2, 4, "-t 60 --mem 21400 --nodes=2 --ntasks-per-node=4 --cpus-per-task=4 {} --gres=gpu:4"),
    ],
)
def test_sbatch_line_of_a_full_training(nodes: int, gpus: int, line: str) -> None:
    assert sbatch_line(needs.train(experiment(nodes, gpus))) == line.format(FULL)


@pytest.mark.parametrize(
    ("resources", "line"),
    [
        (
            needs.predict(experiment()),
            "-t 25 --mem 5500 --cpus-per-task=4 --gres=gpu:1",
        ),
        (
            needs.gradcam(experiment(), config.GradCam()),
            "-t 25 --mem 5500 --cpus-per-task=4 --gres=gpu:1",
        ),
        (needs.inspect(16), "-t 15 --mem 800 --ntasks=1 --cpus-per-task=1"),
        (needs.shard(config.Images()), "-t 15 --mem 1400 --ntasks=1 --cpus-per-task=1"),
        (
            needs.shard(config.Images(hair_removal="dullrazor")),
            "-t 30 --mem 1900 --ntasks=1 --cpus-per-task=1",
        ),
        (needs.pack(config.Images()), "-t 15 --mem 1400 --ntasks=1 --cpus-per-task=1"),
        (needs.table(), "-t 20 --mem 2000 --ntasks=1 --cpus-per-task=1"),
    ],
)
def test_sbatch_lines_of_the_full_configuration(resources: needs.Resources, line: str) -> None:
    assert sbatch_line(resources) == line


@pytest.mark.parametrize(("nodes", "tasks"), [(1, "--nodes=1 --ntasks=1"), (2, "--ntasks=2")])
def test_training_on_cpus_asks_for_no_gpu(nodes: int, tasks: str) -> None:
    line = sbatch_line(needs.train(experiment(nodes, 0)))
    assert "gres" not in line
    assert "gpu" not in line
    assert tasks in line


@pytest.mark.parametrize("gpus", [0, 1, 4])
@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_demo_fits_two_gb_and_one_core_a_task(gpus: int, accelerator: str) -> None:
    demo = experiment(1, gpus, 64, "resnet18", batch_size=32, accelerator=accelerator)
    images = config.Images(size=64, shards=2)
    jobs = [
        needs.predict(demo),
        needs.gradcam(demo, config.GradCam(per_class=2)),
        needs.inspect(2),
        needs.shard(images),
        needs.pack(images),
        needs.table(),
    ]
    train = needs.train(demo)
    assert int(train["mem_mb"] or 0) <= 2000 * max(gpus, 1)
    assert train["cpus_per_task"] == 1
    assert max(int(job["mem_mb"] or 0) for job in jobs) <= 2000
    assert {job["cpus_per_task"] for job in jobs} == {1}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (needs.train(experiment()), needs.train(experiment(), attempt=2)),
        (needs.predict(experiment()), needs.predict(experiment(), attempt=2)),
        (needs.inspect(4), needs.inspect(4, attempt=2)),
        (needs.shard(config.Images()), needs.shard(config.Images(), attempt=2)),
        (needs.pack(config.Images()), needs.pack(config.Images(), attempt=2)),
        (needs.table(), needs.table(attempt=2)),
        (needs.shard(config.Images()), needs.shard(config.Images(size=448))),
        (needs.train(experiment()), needs.train(experiment(size=448, batch_size=256))),
        (needs.train(experiment(gpus=0)), needs.train(experiment(gpus=0, batch_size=256))),
        (needs.train(experiment(compile="off")), needs.train(experiment())),
    ],
)
def test_memory_grows(first: needs.Resources, second: needs.Resources) -> None:
    assert int(second["mem_mb"] or 0) > int(first["mem_mb"] or 0)


def test_growth_ends_and_the_time_of_a_training_never_grows() -> None:
    assert needs.table(attempt=3) == needs.table(attempt=20)
    last = needs.train(experiment(), attempt=20)
    assert last["mem_mb"] == needs.train(experiment(), attempt=2)["mem_mb"]
    assert last["runtime"] == needs.train(experiment())["runtime"]


@pytest.mark.parametrize(
    ("site", "gpus", "gres", "partition"),
    [
        (Site(), 4, "gpu:4", None),
        (Site("short", "", ""), 4, "gpu:4", "short"),
        (Site("short", "gpu", "h100"), 4, "gpu:h100:4", "gpu"),
        (Site("short", "gpu", "h100"), 0, None, "short"),
        (Site("", "gpu", ""), 0, None, None),
    ],
)
def test_site_decides_partition_and_type(
    site: Site, gpus: int, gres: str | None, partition: str | None
) -> None:
    train = needs.train(experiment(1, gpus), site=site)
    predict = needs.predict(experiment(1, gpus), site=site)
    assert (train["gres"], train["slurm_partition"]) == (gres, partition)
    assert predict["gres"] == (gres.replace("4", "1") if gres else None)
    assert predict["slurm_partition"] == partition


def test_a_training_adds_its_signal_to_the_users_own_options() -> None:
    site = Site.from_defaults({"slurm_extra": "'--exclude=node7'"})
    assert (
        needs.train(experiment(), site=site)["slurm_extra"] == "--exclude=node7 --signal=USR1@120"
    )
    assert needs.train(experiment())["slurm_extra"] == "--signal=USR1@120"
    commented = '--exclude=node7 --comment="a b"'
    assert Site.from_defaults({"slurm_extra": f"'{commented}'"}).extra == commented
    assert Site.from_defaults({"slurm_extra": commented}).extra == commented


def test_site_from_what_snakemake_makes_of_the_profile() -> None:
    lines = ["slurm_partition=short", "gpu_partition='all'", "gpu_type=h100", "mem_mb=5"]
    parsed = Resources.parse(lines, allow_expressions=True, defaults="full")
    assert Site.from_defaults(parsed) == Site("short", "all", "h100")
    assert Site.from_defaults(None) == Site()


def test_profile_of_the_workflow_is_empty_and_names_every_key_that_is_read() -> None:
    path = Path(__file__).parents[2] / "workflow/profiles/default/config.yaml"
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    defaults = profile["default-resources"]
    assert list(defaults)[:4] == ["slurm_account", "slurm_partition", "gpu_partition", "gpu_type"]
    assert Site.from_defaults(defaults) == Site()


@pytest.mark.parametrize(
    ("nodes", "gpus", "numbers"),
    [
        (1, 1, (1, 1)),
        (1, 4, (1, 4)),
        (2, 1, (2, 1)),
        (2, 4, (2, 4)),
        (1, 0, (1, 1)),
        (2, 0, (2, 1)),
    ],
)
def test_launcher_repeats_the_numbers_of_the_job(
    nodes: int, gpus: int, numbers: tuple[int, int]
) -> None:
    asked = needs.train(experiment(nodes, gpus)) | {"cpus_per_task": 3}
    assert cluster.launcher(asked, remote=True, environment={"SLURM_JOB_ID": "7"}) == (
        "MELANOMA_LAUNCHER=srun srun --kill-on-bad-exit=1"
        f" --nodes={numbers[0]} --ntasks-per-node={numbers[1]} --cpus-per-task=3"
    )


@pytest.mark.parametrize(
    ("remote", "environment"),
    [(False, {}), (False, {"SLURM_JOB_ID": "7"}), (True, {})],
    ids=["here", "in a user's allocation", "in another kind of cluster"],
)
def test_no_launcher_elsewhere(remote: bool, environment: dict[str, str]) -> None:
    asked = needs.train(experiment(2, 4))
    assert cluster.launcher(asked, remote=remote, environment=environment) == ""


def test_rules_get_functions_of_wildcards_and_attempt() -> None:
    experiments = {"a": experiment(), "b": experiment(1, 1, 64, "resnet18")}
    site = Site("short", "gpu", "h100")
    wildcards = SimpleNamespace(experiment="b", size="64", shards="16")
    bound = {
        "train": cluster.train_resources(experiments, site),
        "predict": cluster.predict_resources(experiments, site, tta=True),
        "gradcam": cluster.gradcam_resources(experiments["b"], config.GradCam(), site),
        "inspect": cluster.inspect_resources(),
        "shard": cluster.shard_resources(experiments),
        "pack": cluster.pack_resources(experiments),
        "table": cluster.table_resources(),
    }
    b = experiments["b"]
    expected = {
        "train": needs.train(b, attempt=2, site=site),
        "predict": needs.predict(b, tta=True, attempt=2, site=site),
        "gradcam": needs.gradcam(b, config.GradCam(), attempt=2, site=site),
        "inspect": needs.inspect(16, attempt=2),
        # Shards of every recipe may share an array, whose tasks all get the same.
        "shard": needs.shard(experiments["a"].images, attempt=2),
        "pack": needs.pack(b.images, attempt=2),
        "table": needs.table(attempt=2),
    }
    got = {
        rule: {name: ask(wildcards, attempt=2) for name, ask in functions.items()}
        for rule, functions in bound.items()
    }
    assert got == expected


def test_metadata_alone_costs_next_to_nothing() -> None:
    tables = config.parse({"model": {"image": False}, "training": {"gpus_per_node": 0}})
    asked = needs.train(tables.experiment("fusion"))
    assert asked["cpus_per_task"] == 1
    assert asked["runtime"] == 30

"""The workflow as a part of another one: `module`, with and without a folder of its own."""

import json

import pytest
import yaml
from runs import ROOT, micro_config, planned, snakemake

OUTER = """
configfile: "config/config.yaml"


module melanoma:
    snakefile:
        {snakefile!r}
    config:
        config["melanoma"]{prefix}


use rule * from melanoma as melanoma_*


rule count:
    input:
        "{folder}results/splits.csv",
    output:
        "count.txt",
    shell:
        "wc -l < {{input}} > {{output}}"


rule all:
    default_target: True
    input:
        rules.melanoma_all.input,
        "count.txt",
"""


@pytest.fixture
def outer(tmp_path, archive_folder):
    """Writes an outer workflow and gives its folder and how to start it."""

    def write(folder=""):
        prefix = f"\n    prefix:\n        {folder!r}" if folder else ""
        inside = f"{folder}/" if folder else ""
        text = OUTER.format(
            snakefile=str(ROOT / "workflow/Snakefile"), prefix=prefix, folder=inside
        )
        (tmp_path / "Snakefile").write_text(text)
        (tmp_path / "config").mkdir()
        values = {"melanoma": micro_config(archive_folder)}
        (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(values))

        def start(*arguments):
            own = ("--snakefile", str(tmp_path / "Snakefile"), "--workflow-profile", "none")
            return snakemake(tmp_path, *own, "--cores", "2", *arguments)

        return start

    return write


@pytest.mark.parametrize("folder", ["", "isic"])
def test_another_workflow_plans_it_as_a_whole(outer, folder):
    result = outer(folder)("-n", "-p")
    jobs = set(planned(result))
    assert {"melanoma_train", "melanoma_evaluate", "melanoma_summary", "count"} <= jobs
    inside = f"{folder}/" if folder else ""
    assert f"--tensorboard {inside}logs/tensorboard/fusion/fold0 " in result.stdout + result.stderr


@pytest.mark.parametrize("folder", ["", "isic"])
def test_another_workflow_runs_on_with_its_results(outer, tmp_path, folder):
    outer(folder)("count.txt")
    assert int((tmp_path / "count.txt").read_text()) == 65
    assert (tmp_path / folder / "results/splits.csv").is_file()


def test_a_finished_run_is_one_for_another_workflow_too(outer, tmp_path, finished_run):
    start = outer()
    for name in ("results", "resources", "logs"):
        (tmp_path / name).symlink_to(finished_run / name)
    result = start("results/MODEL_CARD.md", "-n", "--rerun-triggers", "mtime")
    assert not planned(result)
    assert json.loads((tmp_path / "results/provenance.json").read_text())["commit"]

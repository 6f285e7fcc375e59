"""What a user types in a fresh clone, before any data is there."""

import pytest
from runs import planned, snakemake, write_config

RULES = {
    "weights",
    "download",
    "inspect",
    "gather_inspect",
    "catalogue",
    "split",
    "remove_hair",
    "resize",
    "pack",
    "train",
    "predict",
    "calibrate",
    "combine",
    "evaluate",
    "figures",
    "compare",
    "gradcam",
    "provenance",
}


@pytest.fixture
def fresh(tmp_path):
    write_config(tmp_path, {})
    return tmp_path


def test_the_dry_run_plans_every_rule(fresh):
    jobs = planned(snakemake(fresh, "-n"))
    assert set(jobs) >= RULES
    assert jobs["remove_hair"] == 16


def test_the_dry_run_plans_the_heat_maps(fresh):
    jobs = planned(snakemake(fresh, "-n", "results/gradcam"))
    assert "gradcam" in jobs
    assert "compare" not in jobs


@pytest.mark.parametrize("form", ["--dag", "--rulegraph"])
def test_the_graph_is_drawn(fresh, form):
    drawn = snakemake(fresh, form).stdout
    assert drawn.lstrip().startswith("digraph")
    assert "remove_hair" in drawn


def test_a_misspelt_key_stops_the_run_and_names_the_nearest(fresh):
    result = snakemake(fresh, "-n", "--config", "imagse={size: 64}", check=False)
    assert result.returncode != 0
    assert "did you mean 'images'" in result.stdout + result.stderr


def test_a_misspelt_backbone_stops_the_run_without_a_traceback(fresh):
    result = snakemake(fresh, "-n", "--config", "model={backbone: resnet51}", check=False)
    said = result.stdout + result.stderr
    assert result.returncode != 0
    assert "did you mean 'resnet50'?" in said
    assert "Traceback" not in said
    assert "InputFunctionException" not in said


def test_the_official_test_set_is_no_part_of_the_default_target(fresh):
    output = snakemake(fresh, "-n").stdout
    assert "resources/isic2019/test" not in output

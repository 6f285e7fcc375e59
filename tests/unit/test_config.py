"""The configuration: defaults, overrides, and errors that name the key."""

import json
import typing
from pathlib import Path

import pytest
import yaml

from melanoma import config, isic
from melanoma.config_docs import keys_page, schema, schema_text
from melanoma.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"experiments": {"a": {"model": "resnet18"}}}, r"experiments\.a\.model: expected keys"),
        ({"experiments": {"a": {"images": {"shards": 3}}}}, r"a\.images\.shards: is one number"),
        ({"training": {"exclude_sources": ["BNC"]}}, r"training\.exclude_sources.*'BNC'"),
    ],
)
def test_what_an_experiment_cannot_have_names_its_key(values, message):
    with pytest.raises(InputError, match=message):
        config.parse(values)


def test_sources_are_those_of_lesions():
    known = typing.get_args(config.Source)
    assert set(known) == {*isic.SOURCES, isic.NO_SOURCE, isic.source_of("XYZ_0000001")}


def test_defaults_are_the_documented_ones():
    parsed = config.parse({})
    assert parsed.images.recipe == "lines-crop-224"
    assert parsed.training.gpus_per_node == 4
    assert parsed.training.batch_size == 128
    assert parsed.main_experiment == "fusion"
    assert parsed.data.test is None


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml"])
def test_shipped_configurations_are_valid(name):
    values = yaml.safe_load((ROOT / "config" / name).read_text())
    assert config.parse(values).main_experiment == "fusion"


def test_overrides_reach_one_experiment_alone():
    parsed = config.parse({"experiments": {"a": {}, "b": {"model": {"metadata": False}}}})
    assert parsed.experiment("a").model.metadata
    assert not parsed.experiment("b").model.metadata


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"imagse": {}}, ["imagse", "did you mean 'images'"]),
        ({"training": {"lrr": 1}}, ["training.lrr", "did you mean 'lr'"]),
        ({"data": {"train": {"imges": "x"}}}, ["data.train.imges", "did you mean 'images'"]),
        ({"training": {"lr": -1}}, ["training.lr", "-1"]),
        ({"training": {"lr": "fast"}}, ["training.lr", "fast"]),
        ({"training": {"batch_size": 126}}, ["batch_size 126", "multiple of 4"]),
        ({"images": {"framing": "zoom"}}, ["images.framing", "zoom"]),
        ({"images": {"size": 8}}, ["images.size", "8"]),
        ({"splits": {"val_fraction": 0.6, "test_fraction": 0.6}}, ["val_fraction"]),
        ({"model": {"image": False, "metadata": False}}, ["nothing is left"]),
        ({"model": {"metadata_fields": ["age", "age"]}}, ["names a field twice"]),
        ({"model": {"fusion": "metablock", "image": False}}, ["metablock"]),
        ({"images": 5}, ["images"]),
        ({"experiments": {}}, ["at least one experiment"]),
        ({"experiments": {"a b": {}}}, ["'a b'"]),
        ({"experiments": {"a": {"splits": {}}}}, ["experiments.a.splits", "nothing else"]),
        ({"experiments": {"a": {"modle": {}}}}, ["experiments.a.modle", "did you mean 'model'"]),
        ({"experiments": {"a": {"model": {"metdata": 1}}}}, ["experiments.a.model.metdata"]),
        ({"experiments": {"a": 5}}, ["experiments.a"]),
    ],
)
def test_wrong_values_are_named(values, words):
    with pytest.raises(InputError) as error:
        config.parse(values)
    for word in words:
        assert word in str(error.value)


def test_yaml_spellings_of_on_and_off_are_understood():
    parsed = config.parse({"training": {"compile": True, "resident": False, "precision": 32}})
    assert (parsed.training.compile, parsed.training.resident) == ("on", "off")
    assert parsed.training.precision == "32"


def test_unknown_experiment_is_refused():
    with pytest.raises(InputError, match="did you mean 'fusion'"):
        config.parse({}).experiment("fusoin")


def test_settings_survive_the_command_line_and_hold_no_execution():
    experiment = config.parse({"training": {"nodes": 2}}).experiment("fusion")
    result, execution = experiment.result_settings(), experiment.execution_settings()
    assert not set(config.EXECUTION_KEYS) & set(json.loads(result)["training"])
    assert config.Experiment.from_settings(result, execution) == experiment


@pytest.mark.parametrize("key", [*config.EXECUTION_KEYS])
def test_execution_does_not_change_the_result_settings(key):
    others = {"nodes": 2, "gpus_per_node": 2, "accelerator": "cpu", "seeds": 3}
    changed = others.get(key, "off")
    before = config.parse({}).experiment("fusion").result_settings()
    after = config.parse({"training": {key: changed}}).experiment("fusion").result_settings()
    assert before == after


def test_each_seed_has_settings_of_its_own():
    parsed = config.parse(
        {
            "training": {"seed": 7, "seeds": 3},
            "experiments": {"fusion": {}, "once": {"training": {"seeds": 1}}},
        }
    )
    several, once = parsed.experiment("fusion"), parsed.experiment("once")
    assert (several.training.seeds, once.training.seeds) == (3, 1)
    found = [json.loads(several.result_settings(number)) for number in range(3)]
    assert [each["training"].pop("seed") for each in found] == [7, 8, 9]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"seeds": 0}, r"training\.seeds.*0"),
        ({"seeds": True}, r"training\.seeds"),
        ({"seed": 2**31 - 2, "seeds": 3}, "seed 2147483646 with seeds 3 goes beyond 2147483647"),
    ],
)
def test_seeds_that_cannot_be_are_refused(training, message):
    with pytest.raises(InputError, match=message):
        config.parse({"training": training})
    assert config.parse({"training": {"seed": 2**31 - 3, "seeds": 3}}).training.seeds == 3


def test_settings_that_are_no_json_are_refused():
    with pytest.raises(InputError, match="not the expected JSON"):
        config.Experiment.from_settings("{")


def test_generated_files_are_up_to_date():
    cure = "run `melanoma schema`"
    assert (ROOT / "workflow/schemas/config.schema.yaml").read_text() == schema_text(), cure
    assert (ROOT / "config/README.md").read_text() == keys_page(), cure


def _keys(section, whole, path=()):
    """Every key of the schema, as its path, with its entry."""
    for name, entry in section.get("properties", {}).items():
        yield (*path, name), entry
        for option in [entry, *entry.get("anyOf", [])]:
            if "$ref" in option:
                inner = whole["$defs"][option["$ref"].rsplit("/", 1)[-1]]
                yield from _keys(inner, whole, (*path, name))


KEYS = dict(_keys(schema(), schema()))
LEAVES = [path for path in KEYS if len(path) > 1]


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_every_key_is_on_the_page_with_type_default_and_meaning(path):
    key = ".".join(path)
    rows = [line for line in keys_page().splitlines() if line.startswith(f"| `{key}` |")]
    assert len(rows) == 1
    _, _, kind, default, meaning, _ = (cell.strip() for cell in rows[0].split("|"))
    assert kind not in ("", "any")
    assert default
    assert meaning.endswith(".")


def test_every_section_is_on_the_page():
    page = keys_page()
    for path, entry in KEYS.items():
        if len(path) == 1:
            assert f"\n## {path[0]}\n" in page
            assert entry


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_a_misspelt_key_is_named_with_the_nearest(path):
    *sections, key = path
    typo = key[0] + key[2:] if len(key) > 3 else key + "s"
    values = {typo: {}}
    for section in reversed(sections):
        values = {section: values}
    with pytest.raises(InputError) as error:
        config.parse(values)
    assert f"{'.'.join([*sections, typo])}: no such key; did you mean '{key}'?" in str(error.value)


@pytest.mark.parametrize(
    "path", [path for path in LEAVES if path[0] in config.OVERRIDABLE], ids=".".join
)
def test_a_misspelt_override_is_named_with_the_nearest(path):
    section, key = path
    typo = key + "x"
    with pytest.raises(InputError) as error:
        config.parse({"experiments": {"mine": {section: {typo: 1}}}})
    assert f"experiments.mine.{section}.{typo}: no such key" in str(error.value)
    assert f"did you mean '{key}'" in str(error.value)


def test_schema_refuses_unknown_keys_at_every_level():
    whole = schema()
    assert whole["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in whole["$defs"].values())


def test_settings_that_decide_results_are_read_back_whatever_the_batch():
    training = {"batch_size": 2, "gpus_per_node": 1}
    experiment = config.Config(training=training).experiment("fusion")
    read = config.Experiment.from_settings(experiment.result_settings())
    assert read.result_settings() == experiment.result_settings()
    assert read.training.batch_size == 2

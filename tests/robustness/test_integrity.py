"""Results that changed after they were written: noticed on opening, and by `melanoma verify`."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import explain_examples
import pytest
import training_examples

from melanoma import cli, verify
from melanoma.errors import InputError
from melanoma.store import Store
from melanoma.training import run
from melanoma.training.run import train

STORE = "none-crop-32"


def flip(path: Path, at: float = 0.5) -> None:
    """Change one bit, and neither length nor time."""
    data, times = bytearray(path.read_bytes()), path.stat()
    data[int(len(data) * at)] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Store, catalogue and splits to train on."""
    training_examples.write_data(tmp_path / "data")
    return tmp_path / "data"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def swap_ids(path: Path) -> None:
    lines = path.read_text().splitlines()
    lines[1], lines[2] = (f"{lines[i].split(',')[0]},{row}" for i, row in ((2, 0), (1, 1)))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".npy", flip, r"\.npy: sha256 .* changed since"),
        (".npy", cut, r"\.npy: damaged or cut short"),
        (".npy", Path.unlink, r"\.npy: no such image store"),
        (".csv", swap_ids, r"\.csv: sha256 .* changed since"),
        (".csv", Path.unlink, r"\.csv: no such index"),
        (".json", cut, r"\.json: not a store's recipe"),
        (".json", Path.unlink, r"\.json: no such file; the image store is not complete"),
    ],
)
def test_a_store_that_changed_is_refused(data, suffix, damage, message):
    damage((data / STORE).with_suffix(suffix))
    with pytest.raises(InputError, match=message) as caught:
        Store.open(data / f"{STORE}.npy").verify()
    assert "run rule pack" in str(caught.value)


def refusals(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """What the two commands that a store is given to by hand say."""
    common = ["--model", model, "--store", data / f"{STORE}.npy", "--catalogue", data / "train.csv"]
    tables = ["--predictions", data / "splits.csv", "--calibrated", data / "splits.csv"]
    for command in (
        ["predict-subset", *common, "--splits", data / "splits.csv", "--subset", "val"],
        ["gradcam", *common, *tables],
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, command), "--output", str(data / "o")])
        assert ended.value.code == 2
        yield capsys.readouterr().err


def test_every_command_that_opens_a_store_verifies_it(data, tmp_path, capsys):
    flip(data / f"{STORE}.npy", at=0.9)
    with pytest.raises(InputError, match="changed since"):
        train(training_examples.job(data, tmp_path / "out", {"image": False}))
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=32)
    assert all("changed since" in told for told in refusals(data, model, capsys))


def test_a_checkpoint_of_another_configuration_is_refused(data, tmp_path, capsys):
    """Of the same size, but trained on images that were made in another way."""
    path = data / f"{STORE}.json"
    recipe = json.loads(path.read_text())
    path.write_text(json.dumps({**recipe, "recipe": "lines-pad-32"}))
    model = explain_examples.checkpoint(tmp_path / "model.ckpt", size=32)
    for told in refusals(data, model, capsys):
        assert "trained on images of 32 px (none-crop-32)" in told
        assert "but the store has 32 px (lines-pad-32)" in told


def test_a_state_to_resume_from_that_changed_is_refused(data, tmp_path, monkeypatch):
    job = training_examples.job(data, tmp_path / "out", {"image": False})
    with monkeypatch.context() as patch:
        patch.setattr(run, "publish_results", lambda *_: None)
        train(job)
    (state,) = job.output.glob("resume-*/state.ckpt")
    flip(state)
    with pytest.raises(InputError, match=r"state\.ckpt: cannot be read .*remove the folder"):
        train(job)
    assert train(replace(job, output=tmp_path / "other")).epochs == 3


@pytest.fixture
def results(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished working folder, to be damaged."""
    folder = tmp_path / "run"
    shutil.copytree(
        finished_run, folder, symlinks=True, ignore=shutil.ignore_patterns(".snakemake")
    )
    return folder


def states(folder: Path) -> dict[str, str]:
    """State of each file that is not as it was written."""
    checks = verify.verify(folder)
    return {check.path: check.state for check in checks if check.state != "unchanged"}


def test_an_untouched_folder_passes_wherever_it_lies(results, capsys):
    assert states(results) == {}
    assert cli.main(["verify", str(results), "--images"]) == 0
    assert "everything that is here is as it was written" in capsys.readouterr().out


RESULTS = [
    "results/splits.csv",
    "results/catalogue/train.csv",
    "results/training/fusion/fold0/model.ckpt",
    "results/training/fusion/fold0/decision.json",
    "results/predictions/fusion/test.csv",
    "results/predictions/metadata_only/val_calibrated.csv",
    "results/predictions/fusion/decision.json",
    "results/evaluation/fusion/metrics.json",
    "results/evaluation/comparison.csv",
]


@pytest.mark.parametrize(
    ("damage", "state"), [(flip, "changed"), (cut, "changed"), (Path.unlink, "missing")]
)
def test_every_changed_or_missing_result_is_named(results, capsys, damage, state):
    for name in RESULTS:
        damage(results / name)
    found = states(results)
    assert {name: found[name] for name in RESULTS} == dict.fromkeys(RESULTS, state)
    assert cli.main(["verify", str(results)]) == 1
    shown = capsys.readouterr().out
    assert all(name in shown for name in RESULTS)
    assert "are not what the workflow wrote: remove them and run it again" in shown


def test_a_changed_store_is_named_by_its_recipe(results):
    recipe = "results/images/train/lines-crop-32.json"
    flip(results / "results/images/train/lines-crop-32.npy")
    assert states(results) == {recipe: "changed"}


def test_a_store_that_was_made_again_in_another_way_is_named(results):
    path = results / "results/images/train/lines-crop-32.json"
    recipe = json.loads(path.read_text())
    path.write_text(json.dumps({**recipe, "code": "other"}))
    assert states(results) == {str(path.relative_to(results)): "changed"}


def test_a_model_of_another_store_is_named(results):
    path = results / verify.RECORD
    record = json.loads(path.read_text())
    for entry in record["images"].values():
        entry["sha256"] = "0" * 64
    path.write_text(json.dumps(record))
    found = verify.verify(results)
    told = [check.detail for check in found if check.path.endswith(".ckpt")]
    assert told == ["trained on an image store that is none of the record's"] * 2


def replace_input(results: Path, name: str) -> Path:
    """Put a copy, to be damaged, in the place of a link to a source."""
    link = results / "resources/isic2019/train" / name
    content = link.read_bytes()
    link.unlink()
    link.write_bytes(content)
    return link


def test_changed_inputs_are_named(results):
    flip(replace_input(results, "metadata.csv"))
    archive = replace_input(results, "images.zip")
    with zipfile.ZipFile(archive) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    image = next(name for name in sorted(members) if name.endswith(".jpg"))
    with zipfile.ZipFile(archive, "w") as out:
        for name, content in members.items():
            out.writestr(name, content + b"\0" if name == image else content)
    assert states(results) == {
        "resources/isic2019/train/metadata.csv": "changed",
        "resources/isic2019/train/images.zip": "changed",
    }


def test_images_damaged_in_place_are_found_when_they_are_read(results):
    flip(replace_input(results, "images.zip"), at=0.3)
    assert states(results) == {}
    found = [check for check in verify.verify(results, images=True) if check.state == "changed"]
    assert [Path(check.path).name for check in found] == ["images.zip"]
    assert "is damaged" in found[0].detail


def test_results_without_their_inputs_pass(results):
    shutil.rmtree(results / "resources")
    assert set(states(results).values()) == {"not here"}
    assert not verify.failed(verify.verify(results))


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b'{"data": {"a": 1}}'])
def test_no_record_is_said(tmp_path, content):
    if content is not None:
        (tmp_path / "results").mkdir()
        (tmp_path / verify.RECORD).write_bytes(content)
    with pytest.raises(InputError, match=r"provenance\.json: (no such file|not a record)"):
        verify.verify(tmp_path)

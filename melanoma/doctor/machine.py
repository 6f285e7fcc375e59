"""Checks that need no cluster: cores, memory, GPU, disk, data and weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from melanoma.cluster import needs
from melanoma.config import Config, Experiment
from melanoma.doctor.findings import Finding, error, ok, warning
from melanoma.doctor.surroundings import Surroundings
from melanoma.download import local_path, refuse_itself, scheme_of
from melanoma.errors import InputError
from melanoma.sources import KINDS, check_metadata, place_of, place_of_weights, sets
from melanoma.weights import check_backbone, weights_file, weights_source

ARCHIVE_MB = {"train": 9_100, "test": 3_600}
"""Sizes of the official zips."""
TEST_SHARE = 8_238 / 25_331
"""The official test set's size, as a share of the training set's."""
CHECKPOINTS_MB = 2_000
"""Checkpoints, logs, tables and figures of one experiment."""
RESUME_MB = 700
"""State with optimiser, best, last and published model of a ResNet-50: 25.6 million parameters of
four bytes, seven times."""


def check_machine(config: Config, here: Surroundings) -> Iterator[Finding]:
    """Cores and memory, against the job that needs most when everything runs here."""
    what = f"this machine: {here.cores} cores, {here.memory_mb / 1e3:.0f} GB memory"
    asked = max(int(needs.train(each)["mem_mb"] or 0) for each in experiments(config))
    if here.memory_mb < asked:
        yield warning(
            f"{what}; a training may need {asked / 1e3:.0f} GB",
            "train on a cluster, or lower training.batch_size or images.size",
        )
    else:
        yield ok(what)


def check_gpu(
    trained: Iterable[Experiment], here: Surroundings, *, cluster: bool
) -> Iterator[Finding]:
    """GPUs of this machine, against what trains here; on a cluster the nodes have them."""
    trained = list(trained)
    answer = here.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    gpus = [line.strip() for line in answer.out.splitlines() if line.strip()]
    if answer.status == 0 and gpus:
        yield ok(f"{len(gpus)} GPU here: {gpus[0]}")
    elif cluster:
        yield ok("no GPU here, which a submit host needs not have")
    elif any(each.training.accelerator == "gpu" for each in trained):
        yield error(
            "no GPU here, and training.accelerator is gpu",
            "train on a machine with an NVIDIA driver, or set training.accelerator: auto",
        )
    elif any(each.training.gpus_per_node for each in trained):
        seconds = max(needs.cpu_epoch_seconds(each, here.cores) for each in trained)
        yield warning(
            f"no GPU here: training runs on the CPU, where an epoch of {needs.OFFICIAL_IMAGES:,} "
            f"images, as the official set has, takes {_in_words(seconds)}",
            "fine for small sets such as the demo; else use a machine with a GPU, or a cluster",
        )
    else:
        yield ok("no GPU here, and none configured")


def _in_words(seconds: float) -> str:
    """A rough time: more is not known before it was tried."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 2:
        return "a minute or two"
    return f"about {minutes} minutes" if minutes < 90 else f"about {hours} hours"


def check_disk(config: Config, here: Surroundings) -> Iterator[Finding]:
    """Free space, against archives still to fetch, image stores and checkpoints."""
    trainings = sum(each.training.seeds for each in experiments(config)) * config.splits.folds
    needed = CHECKPOINTS_MB * trainings
    needed += _images_mb(config, "train", here)
    free = here.free_mb(here.folder)
    what = f"{free / 1e3:.0f} GB free in {here.folder}; about {needed / 1e3:.0f} GB are needed"
    cure = "free some, or run in another folder: snakemake --directory ..."
    test = _images_mb(config, "test", here) if config.data.test else 0
    if free < needed:
        yield error(what, cure)
    elif free < needed + test:
        yield warning(f"{what}, and {test / 1e3:.0f} GB for results/official", cure)
    else:
        yield ok(what)


def _images_mb(config: Config, name: Literal["train", "test"], here: Surroundings) -> int:
    """What a set still takes: its archive, where it is to be fetched, and its image stores."""
    data_set = dict(sets(config))[name]
    needed = 0
    if _url(data_set.images) and not (here.folder / place_of(name, "images")).exists():
        needed += ARCHIVE_MB[name]
    share = TEST_SHARE if name == "test" else 1.0
    for recipe in {each.images.recipe: each.images for each in experiments(config)}.values():
        if not (here.folder / "results/images" / name / f"{recipe.recipe}.npy").exists():
            # Frames, resized shards and the store lie side by side for a while.
            needed += round(3.4 * needs.store_mb(recipe) * share)
    return needed


def check_data(config: Config, here: Surroundings) -> Iterator[Finding]:
    """Data files: there, or to be fetched from an address that answers."""
    try:
        check_metadata(config)
    except InputError as problem:
        yield error("data.train.metadata", str(problem))
    for name, data_set in sets(config):
        for kind in KINDS:
            source = getattr(data_set, kind)
            if source is not None:
                found = _source(f"data.{name}.{kind}", source, place_of(name, kind), here)
                yield _only_official(found) if name == "test" else found


def _only_official(found: Finding) -> Finding:
    """An error in a file of the test set, which the default target does without."""
    if found.level != "error":
        return found
    return warning(f"{found.what} (needed for results/official alone)", found.cure)


def check_weights(config: Config, here: Surroundings) -> Iterator[Finding]:
    """Backbone of every experiment: known, and its weights there or to be fetched."""
    seen = set()
    for each in experiments(config):
        try:
            check_backbone(each.model)
            file = weights_file(each.model)
            source = weights_source(each.model) if file else ""
        except InputError as problem:
            yield error(
                f"experiment {each.name}: {problem}", "correct model.backbone, or as it says"
            )
            continue
        if file and source not in seen:
            seen.add(source)
            yield _source("weights", source, place_of_weights(file), here)


def _source(what: str, source: str, place: str, here: Surroundings) -> Finding:
    url = _url(source)
    if not url:
        return _local(what, source, place, here)
    if (here.folder / place).exists():
        return ok(f"{what}: {url}, in {place} already")
    if here.reachable(url):
        return ok(f"{what}: can be fetched from {url}")
    return error(
        f"{what}: neither {place} nor an answer from {url}",
        f"fetch it where there is internet and copy it to {place}",
    )


def _local(what: str, source: str, place: str, here: Surroundings) -> Finding:
    """A file of this machine: itself, since what an earlier run linked may be another one."""
    try:
        path = here.folder / local_path(source)
        refuse_itself(str(path), here.folder / place)
    except InputError as problem:
        return error(what, str(problem))
    if path.is_file():
        return ok(f"{what}: {source}")
    return error(
        f"{what}: the file {path} doesn't exist",
        "correct the path; relative ones start from the working directory",
    )


def _url(source: str) -> str:
    return source if scheme_of(source) in ("http", "https") else ""


def experiments(config: Config) -> list[Experiment]:
    """All experiments, their overrides applied."""
    return [config.experiment(name) for name in config.experiments]

"""Where the files that the workflow starts from come from, and where it puts them."""

from __future__ import annotations

from collections.abc import Iterator

from melanoma.config import Config, DataSet
from melanoma.download import refuse_itself
from melanoma.errors import InputError
from melanoma.weights import weights_file, weights_source

KINDS = ("images", "ground_truth", "metadata")


def place_of(set_name: str, kind: str) -> str:
    """Where a file of a set is put, from the working directory: "train", "images" and so on."""
    return f"resources/isic2019/{set_name}/{kind}.{'zip' if kind == 'images' else 'csv'}"


def place_of_weights(file: str) -> str:
    """Where a file of pretrained weights is put."""
    return f"resources/weights/{file}"


def sets(config: Config) -> list[tuple[str, DataSet]]:
    """The configured data sets by name."""
    found = [("train", config.data.train), ("test", config.data.test)]
    return [(name, data_set) for name, data_set in found if data_set is not None]


def sources(config: Config) -> Iterator[tuple[str, str, str]]:
    """Key, source and place of every file of the configuration.

    Raises:
        InputError: an experiment's weights aren't known.
    """
    for name, data_set in sets(config):
        for kind in KINDS:
            if source := getattr(data_set, kind):
                yield f"data.{name}.{kind}", source, place_of(name, kind)
    for name in config.experiments:
        model = config.experiment(name).model
        if file := weights_file(model):
            own = "weights" in ((config.experiments[name] or {}).get("model") or {})
            key = f"experiments.{name}.model.weights" if own else "model.weights"
            yield key, weights_source(model), place_of_weights(file)


def check_metadata(config: Config) -> None:
    """Refuse experiments that learn from metadata where there are none.

    Raises:
        InputError: names the experiment.
    """
    for name in config.experiments:
        if not config.data.train.metadata and config.experiment(name).model.metadata:
            raise InputError(
                f"data.train.metadata: no table is named, and experiment {name} learns from one: "
                "name it, or set model.metadata: false"
            )


def check_sources(config: Config) -> None:
    """Refuse local sources that the workflow would remove, to make them anew; `check_metadata`.

    Raises:
        InputError: names the key.
    """
    check_metadata(config)
    for key, source, place in sources(config):
        try:
            refuse_itself(source, place)
        except InputError as error:
            raise InputError(f"{key}: {error}") from None

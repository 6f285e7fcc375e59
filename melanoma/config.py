"""The configuration as typed, frozen objects: validated once, at the edge, then passed down.

`workflow/schemas/config.schema.yaml` and `config/README.md` are generated from these classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from melanoma import isic
from melanoma.backbones import BACKBONES
from melanoma.config_errors import build, nearest, yaml_fault
from melanoma.errors import InputError
from melanoma.wording import quoted

HairRemoval = Literal["lines", "dullrazor", "none"]
Framing = Literal["crop", "pad", "stretch"]
MetadataField = Literal["age", "sex", "site"]
Source = Literal["BCN", "HAM", "MSK", "none", "other"]
Fraction = Annotated[float, Field(ge=0.0, le=0.9)]
PositiveFraction = Annotated[float, Field(gt=0.0, le=0.9)]
MOST_SEED = 2**31 - 1
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]

EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
EXECUTION_KEYS = ("nodes", "gpus_per_node", "accelerator", "compile", "resident", "seeds")
"""Training keys that change how, or how often, but not what is computed: a change of them trains
nothing again that is there."""

OVERRIDABLE = ("images", "model", "training")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1: `folds: yes` would be one fold."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation in (int, float):
            raise ValueError("expected a number")
        return value


class DataSet(_Section):
    """Where one set comes from: https URLs, file:// URLs or paths from the working directory."""

    images: str = Field(description="The zip of JPEG images; a local one is read where it lies.")
    ground_truth: str = Field(description="CSV: image and one 0/1 column per diagnosis.")
    metadata: str | None = Field(None, description="CSV: image, age, site, lesion id, sex.")


def _official(name: Literal["train", "test"]) -> DataSet:
    return DataSet(
        images=isic.OFFICIAL_FILES[name, "images"].url,
        ground_truth=isic.OFFICIAL_FILES[name, "ground_truth"].url,
        metadata=isic.OFFICIAL_FILES[name, "metadata"].url,
    )


class Data(_Section):
    """The data sets."""

    train: DataSet = Field(
        default_factory=lambda: _official("train"),
        description="Images with known diagnosis, split into training, validation and test; left "
        "out: the official ISIC 2019 training set.",
    )
    test: DataSet | None = Field(
        None, description="The official test set, or null; used by `results/official` alone."
    )


class Images(_Section):
    """From JPEG to the pixels that are trained on."""

    hair_removal: HairRemoval = Field(
        "lines", description="lines: ours; dullrazor: the usual recipe, slow; none: leave hair in."
    )
    size: int = Field(224, ge=32, le=1024, description="Side of the square image, in pixels.")
    framing: Framing = Field(
        "crop", description="crop: centre square; pad: whole frame on black; stretch: distorted."
    )
    shards: int = Field(
        16, ge=1, le=1000, description="Jobs that share the images; changes no result."
    )

    @property
    def recipe(self) -> str:
        """Name of the image store, e.g. "lines-crop-224"."""
        return f"{self.hair_removal}-{self.framing}-{self.size}"


class Splits(_Section):
    """How images are shared out over training, validation and test: always by whole lesions."""

    folds: int = Field(
        1, ge=1, le=20, description="1: one training/validation split; k: k-fold validation."
    )
    val_fraction: PositiveFraction = Field(
        0.15, description="Share of images for validation; ignored when folds > 1."
    )
    test_fraction: Fraction = Field(
        0.15, description="Share of images held out for test, the same in every fold."
    )
    seed: Seed = Field(42, description="Seed of the assignment.")
    near_duplicates: bool = Field(
        True,
        description="Look for photographs that are in the archive twice (resized, saved anew, "
        "cropped, turned) and keep them in one part; false: lesions alone stay whole.",
    )
    file: str | None = Field(
        None,
        description="A splits.csv of your own, used as it is if no lesion is in two of its parts "
        "(near-duplicates may be: they are warned of, and listed in results/splits_audit.csv); "
        "folds must be its number of folds, and test_fraction 0 if it has no test part.",
    )

    @model_validator(mode="after")
    def _leaves_training_images(self) -> Splits:
        if self.folds == 1 and self.val_fraction + self.test_fraction > 0.9:
            raise ValueError(
                "val_fraction + test_fraction must leave at least 0.1 of the images for training"
            )
        return self


class Model(_Section):
    """The classifier: image features and metadata, fused."""

    backbone: str = Field(
        "resnet50",
        description=f"A torchvision classification model's name. Tested: {', '.join(BACKBONES)}.",
    )
    pretrained: bool = Field(True, description="Start the backbone from ImageNet weights.")
    weights: str | None = Field(
        None,
        description="URL or path of the backbone's weights; null: torchvision's own for it.",
    )
    image: bool = Field(True, description="Use the image.")
    metadata: bool = Field(True, description="Use the metadata.")
    metadata_fields: tuple[MetadataField, ...] = Field(
        ("age", "sex", "site"), min_length=1, description="The metadata fields used."
    )
    fusion: Literal["concat", "metablock"] = Field(
        "concat", description="How metadata joins the image features."
    )

    @model_validator(mode="after")
    def _has_an_input(self) -> Model:
        if not (self.image or self.metadata):
            raise ValueError("image and metadata are both false: nothing is left to learn from")
        if len(set(self.metadata_fields)) != len(self.metadata_fields):
            raise ValueError("metadata_fields names a field twice")
        if self.fusion == "metablock" and not (self.image and self.metadata):
            raise ValueError("fusion: metablock needs both image and metadata")
        return self


class Training(_Section):
    """How the classifier is trained, and on what hardware."""

    nodes: int = Field(1, ge=1, le=1024, description="Nodes of one training job.")
    gpus_per_node: int = Field(
        4, ge=0, le=64, description="GPUs (and processes) on each node; 0 trains on the CPU."
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="cpu: never use the GPUs that were asked for (for tests)."
    )
    batch_size: int = Field(
        128, ge=1, le=1_000_000, description="Global: shared out over all processes."
    )
    max_epochs: int = Field(30, ge=1, le=10_000, description="Epochs, unless stopped early.")
    freeze_epochs: int = Field(
        3, ge=0, le=10_000, description="First epochs in which the backbone stays as it is."
    )
    lr: float = Field(1.0e-4, gt=0.0, le=10.0, description="Highest learning rate of the head.")
    precision: Literal["auto", "bf16-mixed", "16-mixed", "32"] = Field(
        "auto", description="auto: bf16 where the hardware has it, else fp16 on CUDA, fp32 on CPU."
    )
    patience: int = Field(
        5,
        ge=0,
        le=10_000,
        description="Epochs without a better validation score before stopping; 0: never.",
    )
    loss: Literal["weighted", "focal", "plain"] = Field(
        "weighted", description="weighted: cross-entropy weighted by inverse class frequency."
    )
    metadata_dropout: Fraction = Field(
        0.1, description="Chance that a metadata field is hidden from a training example."
    )
    metadata_dropout_all: Fraction = Field(
        0.1,
        description="Chance that all metadata of a training example are hidden together, so that "
        "the model learns to judge an image alone.",
    )
    exclude_sources: tuple[Source, ...] = Field(
        (),
        description="Sources left out of training: by the lesion id's prefix, other "
        "for any other, none for no id.",
    )
    seed: Seed = Field(42, description="Seed of weights, order and augmentation.")
    seeds: int = Field(
        1,
        ge=1,
        le=100,
        description="Trainings of each fold, with seeds seed, seed + 1, ...; their mean is what "
        "predicts. From 3 on, the comparison of experiments tells an effect from the luck of a "
        "seed. More of them train nothing again that is there.",
    )
    deterministic: bool = Field(
        False,
        description="On a GPU: slower, and the same weights again on the same hardware; "
        "the CPU does so anyway.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile: auto uses it on CUDA with enough epochs to repay it."
    )
    resident: Literal["auto", "on", "off"] = Field(
        "auto", description="Keep the images in GPU memory: auto decides by free memory."
    )

    @model_validator(mode="before")
    @classmethod
    def _yaml_spellings(cls, values: Any) -> Any:
        """YAML reads on/off as booleans and 32 as a number: take them as they were meant."""
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        for key in ("compile", "resident"):
            if isinstance(values.get(key), bool):
                values[key] = "on" if values[key] else "off"
        if values.get("precision") == 32:
            values["precision"] = "32"
        return values

    @property
    def ranks(self) -> int:
        """Processes of one training job."""
        return self.nodes * max(self.gpus_per_node, 1)

    @model_validator(mode="after")
    def _has_seeds(self) -> Training:
        if self.seed + self.seeds - 1 > MOST_SEED:
            raise ValueError(
                f"seed {self.seed} with seeds {self.seeds} goes beyond {MOST_SEED}, the largest "
                "seed: use a smaller seed"
            )
        return self

    @model_validator(mode="after")
    def _adds_up(self) -> Training:
        if self.batch_size % self.ranks:
            raise ValueError(
                f"batch_size {self.batch_size} is global and cannot be shared out evenly over "
                f"{self.nodes} nodes x {max(self.gpus_per_node, 1)} processes: "
                f"use a multiple of {self.ranks}"
            )
        return self


class Evaluation(_Section):
    """How predictions are judged."""

    bootstrap: int = Field(
        2000, ge=0, le=100_000, description="Resamples for the 95 % intervals; 0: no intervals."
    )
    tta: bool = Field(False, description="Average predictions over eight flips and rotations.")
    ood: Literal["energy", "msp"] = Field(
        "energy", description="Score that tells images of no known class (official test)."
    )
    match_official: bool = Field(
        True,
        description="Look for images of the official test set that are also in training, and score "
        "without them too.",
    )


class GradCam(_Section):
    """Which heat maps are drawn."""

    per_class: int = Field(
        4,
        ge=1,
        le=100,
        description="Right and wrong examples per class: half of them the most confident, half "
        "drawn at random.",
    )
    method: Literal["gradcam", "gradcam++", "eigencam", "layercam"] = Field(
        "gradcam", description="The class activation map."
    )


class Experiment(_Section):
    """One experiment: the settings of `images`, `model` and `training` with its overrides."""

    name: str
    images: Images
    model: Model
    training: Training

    def result_settings(self, seed_number: int = 0) -> str:
        """JSON of the settings that decide the trained weights: none that are only execution.

        Args:
            seed_number: which of the experiment's seeds they are for, from 0; `seed` is that one's.
        """
        values = self.model_dump(mode="json")
        values["training"]["seed"] += seed_number
        del values["images"]["shards"]
        for key in EXECUTION_KEYS:
            del values["training"][key]
        return json.dumps(values, sort_keys=True)

    def execution_settings(self) -> str:
        """JSON of the training settings that change how, not what, is computed."""
        values = self.training.model_dump(mode="json", include=set(EXECUTION_KEYS))
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_settings(cls, result: str, execution: str = "{}") -> Experiment:
        """Rebuild an experiment from `result_settings` and `execution_settings`.

        Raises:
            InputError: text that is no JSON object, or holds invalid settings.
        """
        try:
            values, how = json.loads(result), json.loads(execution)
            # Where nothing is said of how it was computed, one process is what any batch fits.
            values["training"] = {"nodes": 1, "gpus_per_node": 1} | values["training"] | how
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"experiment settings are not the expected JSON: {error}") from None
        return build(cls, values, "experiment")


class Config(_Section):
    """The whole configuration."""

    data: Data = Data()
    images: Images = Images()
    splits: Splits = Splits()
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    gradcam: GradCam = GradCam()
    experiments: dict[str, dict[str, Any]] = Field(
        {"fusion": {}},
        description="Name: overrides of images, model and training. The first is the main one.",
    )

    def experiment(self, name: str) -> Experiment:
        """Settings of one experiment, its overrides applied.

        Raises:
            InputError: unknown name or invalid override.
        """
        if name not in self.experiments:
            known = nearest(name, self.experiments)
            raise InputError(f"experiments: no experiment named {quoted(name)}; {known}")
        overrides = self.experiments[name] or {}
        parts: dict[str, Any] = {"name": name}
        for section in OVERRIDABLE:
            base = getattr(self, section)
            merged = base.model_dump() | dict(overrides.get(section) or {})
            parts[section] = build(type(base), merged, f"experiments.{name}.{section}")
        return Experiment(**parts)

    @property
    def main_experiment(self) -> str:
        """Name of the first experiment."""
        return next(iter(self.experiments))


def parse(values: Mapping[str, Any]) -> Config:
    """Validate a configuration mapping.

    Args:
        values: as read from YAML; missing keys take their defaults.

    Returns:
        The typed configuration, every experiment's overrides checked.

    Raises:
        InputError: names each wrong key, the value found and, for a misspelt key, the nearest.
    """
    values = dict(values)
    if values.get("experiments") is not None and not values["experiments"]:
        raise InputError("experiments: at least one experiment is needed, e.g. `fusion: {}`")
    # An empty section takes its defaults; an empty one of no known name is misspelt.
    given = {k: v for k, v in values.items() if v is not None or k not in Config.model_fields}
    config = build(Config, given, "")
    for name, overrides in config.experiments.items():
        _check_experiment(name, overrides)
        config.experiment(name)
    return config


def read(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        InputError: the file is missing, is no YAML mapping or holds invalid settings.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(yaml_fault(path, error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(values, Mapping | None):
        raise InputError(f"{path}: expected keys and values, as in config/README.md")
    return parse(values or {})


def _check_experiment(name: str, overrides: Any) -> None:
    if not EXPERIMENT_NAME.fullmatch(name):
        raise InputError(
            f"experiments: the name {quoted(name)} becomes a folder: use letters, digits, - "
            "and _ only"
        )
    if not isinstance(overrides or {}, Mapping):
        raise InputError(
            f"experiments.{name}: expected a mapping of sections, got {quoted(overrides)}"
        )
    for section, values in (overrides or {}).items():
        if section not in OVERRIDABLE:
            raise InputError(
                f"experiments.{name}.{section}: an experiment may override "
                f"{', '.join(OVERRIDABLE)} and nothing else; {nearest(section, OVERRIDABLE)}"
            )
        if not isinstance(values or {}, Mapping):
            raise InputError(
                f"experiments.{name}.{section}: expected keys and values, got {quoted(values)}"
            )
        if section == "images" and "shards" in (values or {}):
            raise InputError(
                f"experiments.{name}.images.shards: is one number for all: set images.shards"
            )

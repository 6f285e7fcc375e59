"""A trained model as one file that runs without this package: ONNX, or torch.export.

Both take pixels as the image rules write them and encoded metadata, and give raw probabilities;
normalisation is inside. What a user must know to feed them is written into the file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from melanoma import files, isic
from melanoma.errors import InputError
from melanoma.evaluation import decision_file
from melanoma.metadata import MetadataEncoder
from melanoma.model import FusionModel, to_input
from melanoma.notice import NO_MEDICAL_DEVICE
from melanoma.training.checkpoints import TrainedModel, load_model

log = logging.getLogger(__name__)

OPSET = 20
"""ONNX operator set: read by onnxruntime from 1.17 on, of 2024."""

DESCRIPTION = "melanoma.json"
"""Name of the description inside a torch.export file."""

TOLERANCE = 1e-4
"""Largest difference of a probability between the export and the model."""

CHECKED = (1, 5)
"""Batches of random pixels that the export is compared on; none as large as the traced one."""

_TRACED = 2
"""Batch of the example: 1 would be taken for a constant."""


class _Exported(nn.Module):
    """Pixels and metadata in, probabilities out."""

    def __init__(self, model: FusionModel, *, image: bool, metadata: bool) -> None:
        super().__init__()
        self.model = model
        self.image = image
        self.metadata = metadata

    def forward(self, *inputs: Tensor) -> Tensor:
        """Probabilities, float32[n, 8], of the inputs there are: pixels, metadata."""
        images = to_input(inputs[0]) if self.image else None
        fields = inputs[-1] if self.metadata else None
        return torch.softmax(self.model(images, fields), dim=1)


def describe(model: TrainedModel) -> dict[str, Any]:
    """What is needed to feed an exported model and read its output.

    Args:
        model: as loaded.

    Returns:
        JSON-ready: classes in order of the output, preprocessing, metadata (the encoder and what
        each entry of the vector means), experiment, recipe, decision (of this model alone, where
        decision.json lies beside the checkpoint, else None), ensemble (the decision of its
        experiment's models together, which is for the mean of their probabilities, where the
        workflow wrote one, else None), statement. Decisions are as from
        `melanoma.evaluation.calibration.fit_decision`.

    Raises:
        InputError: a decision.json that cannot be used.
    """
    settings = model.experiment
    preprocessing = {
        **settings.images.model_dump(exclude={"shards"}),
        "pixels": "uint8 RGB [batch, size, size, 3], as melanoma.images.prepare gives them; "
        "normalisation is inside the model",
    }
    uses = settings.model.metadata
    return {
        "statement": NO_MEDICAL_DEVICE,
        "classes": {name: isic.DIAGNOSIS_NAMES[name] for name in model.classes},
        "preprocessing": preprocessing if settings.model.image else None,
        "metadata": _metadata_contract(model.encoder) if uses else None,
        "experiment": settings.model_dump(mode="json"),
        "recipe": model.recipe,
        "epoch": model.epoch,
        "fold": model.fold,
        "decision": _decision_of(model),
        "ensemble": _ensemble_of(model),
    }


def _decision_of(model: TrainedModel) -> dict[str, Any] | None:
    path = model.path.parent / decision_file.NAME
    if not path.is_file():
        return None
    decision = decision_file.read_decision(path)
    if decision["tta"]:
        log.warning(
            "%s holds for the mean over eight flips and quarter turns: the export predicts one "
            "view, so give it all eight and average",
            path,
        )
    return decision


def _ensemble_of(model: TrainedModel) -> dict[str, Any] | None:
    """The decision for the mean of the experiment's models, this one among them."""
    found = decision_file.of_experiment([model.path])
    return None if found is None else dict(found.values)


def _metadata_contract(encoder: MetadataEncoder) -> dict[str, Any]:
    entries: list[str] = []
    never = "not in training, counts as missing"
    for field in encoder.fields:
        unseen = encoder.unseen.get(field, ())
        if field == "age":
            told = "(years, or age_median where missing, - age_mean) / age_deviation"
            entries.append(f"age: 0 ({never})" if field in unseen else f"age: {told}")
        entries += [
            f"{field} is {value!r}: " + (f"0 ({never})" if value in unseen else "1 or 0")
            for value in encoder.categories.get(field, ())
        ]
        entries.append(f"{field} is missing: 1 or 0")
    return {"encoder": encoder.to_dict(), "width": encoder.width, "entries": entries}


def export_onnx(checkpoint: Path, target: Path) -> Path:
    """Write a checkpoint as an ONNX file, after comparing its output with the model's.

    Inputs, where the model uses them: `pixels` uint8[batch, size, size, 3] and `metadata`
    float32[batch, width]; output `probabilities` float32[batch, 8], raw softmax. The file's
    metadata (`metadata_props`) holds the keys of `describe`, each as JSON.

    Args:
        checkpoint: a model.ckpt, or the folder of an experiment's predictions where it has one
            model.
        target: ends in .onnx; written only if the comparison succeeds.

    Returns:
        `target`.

    Raises:
        InputError: onnx or onnxruntime is not installed, a folder of several models, or the outputs
            differ by more than `TOLERANCE`.
    """
    onnx, runtime = _onnx_packages()
    model, exported, inputs = _prepare(checkpoint)
    with files.atomic(target) as partial, _quiet("onnxscript", "onnx_ir"):
        program = torch.onnx.export(
            exported,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["probabilities"],
            dynamic_shapes=_dynamic(inputs),
            verbose=False,
        )
        assert program is not None
        proto = program.model_proto
        # The exporter notes where each node stood in the source: paths of this machine.
        for node in proto.graph.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
        onnx.helper.set_model_props(proto, _properties(model))
        onnx.save(proto, partial)
        session = runtime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])

        def run(given: Mapping[str, Tensor]) -> NDArray[np.float32]:
            feed = {name: value.numpy() for name, value in given.items()}
            return np.asarray(session.run(["probabilities"], feed)[0])

        _compare(target, exported, model, run)
    return target


def export_program(checkpoint: Path, target: Path) -> Path:
    """Write a checkpoint as a torch.export program (.pt2), after comparing outputs.

    Inputs and output as of `export_onnx`, given by position; the file `melanoma.json` inside
    (torch.export.load's extra_files) holds `describe`.

    Args:
        checkpoint: as of `export_onnx`.
        target: ends in .pt2; written only if the comparison succeeds.

    Returns:
        `target`.

    Raises:
        InputError: a folder of several models, or the outputs differ by more than `TOLERANCE`.
    """
    model, exported, inputs = _prepare(checkpoint)
    program = torch.export.export(
        exported, tuple(inputs.values()), dynamic_shapes=_dynamic(inputs), strict=False
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    described = json.dumps(describe(model), indent=2)
    with files.atomic(target) as partial:
        torch.export.save(program, partial, extra_files={DESCRIPTION: described})
        loaded = torch.export.load(partial).module()
        _compare(target, exported, model, lambda given: loaded(*given.values()).detach().numpy())
    return target


def _onnx_packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"ONNX export: {error.name} is not installed; pip install onnx onnxruntime onnxscript"
        ) from None
    return onnx, onnxruntime


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """No word of loggers below a warning: the exporter tells of every step."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # It names the batch once and says that it would not name it again.
            warnings.filterwarnings("ignore", message="# The axis name")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _prepare(checkpoint: Path) -> tuple[TrainedModel, _Exported, dict[str, Tensor]]:
    model = load_model(_single(checkpoint), device="cpu")
    settings = model.experiment.model
    exported = _Exported(model.model, image=settings.image, metadata=settings.metadata).eval()
    return model, exported, _random_inputs(model, _TRACED)


def _single(checkpoint: Path) -> Path:
    """The one checkpoint that is meant.

    Raises:
        InputError: a folder of several.
    """
    if not checkpoint.is_dir():
        return checkpoint
    members = decision_file.of_folder(checkpoint).members
    if len(members) > 1:
        raise InputError(
            f"{checkpoint}: has {len(members)} models, and an export is of one: export each "
            f"({members[0]}, …) and average their probabilities; what holds for the mean is in "
            "each file under ensemble"
        )
    return members[0]


def _random_inputs(model: TrainedModel, count: int) -> dict[str, Tensor]:
    random = np.random.default_rng(count)
    size = model.experiment.images.size
    inputs: dict[str, Tensor] = {}
    if model.experiment.model.image:
        pixels = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        inputs["pixels"] = torch.from_numpy(pixels)
    if model.experiment.model.metadata:
        fields = random.random((count, model.encoder.width), dtype=np.float32)
        inputs["metadata"] = torch.from_numpy(fields)
    return inputs


def _dynamic(inputs: Mapping[str, Tensor]) -> tuple[tuple[dict[int, Any], ...]]:
    """The batch is free in every input; one more level, since they come as *inputs."""
    batch = torch.export.Dim("batch", min=1)
    return (tuple({0: batch} for _ in inputs),)


def _properties(model: TrainedModel) -> dict[str, str]:
    described = describe(model)
    return {key: json.dumps(value) for key, value in described.items()}


def _compare(target: Path, exported: _Exported, model: TrainedModel, run: Any) -> None:
    difference = 0.0
    for count in CHECKED:
        inputs = _random_inputs(model, count)
        with torch.inference_mode():
            expected = exported(*inputs.values()).numpy()
        difference = float(np.maximum(difference, np.abs(run(inputs) - expected).max()))
    if not difference <= TOLERANCE:
        raise InputError(
            f"{target}: not written: its probabilities differ from the model's by {difference:.2g},"
            f" more than {TOLERANCE:g}; this backbone does not export well with this torch"
        )
    log.info("%s agrees with the model to %.2g", target.name, difference)

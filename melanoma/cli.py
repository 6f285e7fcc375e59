"""The `melanoma` command: what the workflow's GPU rules start, and what a person uses by hand.

Each subcommand imports what it needs when it runs, so that `melanoma --help` starts at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from melanoma import logs
from melanoma.errors import InputError

if TYPE_CHECKING:
    from melanoma.training import TrainingJob

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: as after the program's name; None takes the process's.

    Returns:
        The exit status.

    Raises:
        SystemExit: status 2 after bad arguments or an `InputError`.
    """
    options = _parser().parse_args(arguments)
    # Before torch is loaded: threads that spin while they wait cost a shared machine many times
    # what they gain.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with logs.job_log(getattr(options, "log", None)):
        status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="melanoma", description="The ISIC 2019 melanoma pipeline, step by step."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        *(_predict, _doctor, _verify, _export, _train, _predict_subset, _predict_changed),
        *(_gradcam, _demo_data, _schema),
    ):
        add(commands)
    return parser


def _log_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", type=Path, help="file that gets the log lines as well")


def _fold_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fold", type=_fold, default=0, help="its number; 0-seed1 as in a folder's name is fold 0"
    )


def _fold(text: str) -> int:
    """Number of the fold behind a training's name."""
    from melanoma import seeds

    try:
        return seeds.parse(text).fold
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _folder(text: str) -> Path:
    """A folder to write into: there already, or not yet."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder: name another")
    return path


def _train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train", help="train one fold of one experiment")
    parser.add_argument("--settings", required=True, help="the experiment's settings, as JSON")
    parser.add_argument("--execution", default="{}", help="nodes, GPUs and the like, as JSON")
    parser.add_argument("--code", default="", help="version of the code; part of what is resumed")
    _fold_option(parser)
    parser.add_argument("--store", type=Path, required=True, help="image store (.npy)")
    parser.add_argument("--catalogue", type=Path, required=True)
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="pretrained backbone weights (.pth)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--tensorboard", type=Path, required=True, help="TensorBoard folder")
    _log_option(parser)
    parser.set_defaults(run=_run_train)


def _run_train(options: argparse.Namespace) -> int:
    from melanoma import energy
    from melanoma.config import Experiment
    from melanoma.training import TrainingJob, launch
    from melanoma.training.starts import ResumeFolder

    job = TrainingJob(
        experiment=Experiment.from_settings(options.settings, options.execution),
        fold=options.fold,
        store=options.store,
        catalogue=options.catalogue,
        splits=options.splits,
        weights=options.weights,
        output=options.output,
        tensorboard=options.tensorboard,
        code=options.code,
    )
    key = energy.key_of(options.settings, options.code)
    rank, local_rank = (launch.rank_of(os.environ, local=local) for local in (False, True))
    with (
        ResumeFolder.of(job, rank).recorded() as folder,
        energy.recorded(
            job.output, key, os.environ, rank=rank, local_rank=local_rank, first=folder.first
        ) as record,
    ):
        folder.before_end.append(record)
        if rank == 0:
            _examine(job)
        # Here, so that a start that fails to import it is recorded too.
        from melanoma.training.run import train

        train(job, folder)
    return 0


def _examine(job: TrainingJob) -> None:
    """Look for what would stop a training after the time it takes to load everything.

    Raises:
        InputError: something would.
    """
    from melanoma import doctor

    files = {
        "image store": job.store,
        "catalogue": job.catalogue,
        "splits": job.splits,
        "weights": job.weights,
    }
    findings = doctor.quick(job.experiment, files, job.output, doctor.surroundings(Path.cwd()))
    for finding in findings:
        level = {"ok": logging.INFO, "warning": logging.WARNING}.get(finding.level, logging.ERROR)
        logger.log(
            level, "%s", f"{finding.what} -> {finding.cure}" if finding.cure else finding.what
        )
    if doctor.failed(findings):
        raise InputError("; ".join(each.what for each in findings if each.level == "error"))


def _predict_subset(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("predict-subset", help="raw probabilities of one subset")
    _subset_options(parser)
    parser.set_defaults(run=_run_predict_subset)


def _predict_changed(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "predict-changed", help="probabilities of one subset with metadata hidden or permuted"
    )
    _subset_options(parser)
    parser.set_defaults(run=_run_predict_changed)


def _subset_options(parser: argparse.ArgumentParser) -> None:
    """Options of the commands that predict a subset."""
    parser.add_argument("--model", type=Path, required=True, help="checkpoint (model.ckpt)")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--catalogue", type=Path, required=True)
    parser.add_argument("--splits", type=Path, required=True)
    _fold_option(parser)
    parser.add_argument("--subset", choices=("val", "test", "official"), required=True)
    parser.add_argument("--tta", action="store_true", help="average eight flips and rotations")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    _log_option(parser)


def _run_predict_subset(options: argparse.Namespace) -> int:
    from melanoma.catalogue import read_catalogue
    from melanoma.files import write_table
    from melanoma.prediction import predict_store, subset_images
    from melanoma.store import Store
    from melanoma.training.checkpoints import load_model
    from melanoma.training.launch import device_for

    catalogue = read_catalogue(options.catalogue)
    model = load_model(options.model, device_for(options.accelerator))
    store = Store.open(options.store)
    store.verify()
    table = predict_store(
        model,
        store,
        catalogue,
        subset_images(options.subset, catalogue, options.splits, options.fold),
        tta=options.tta,
    )
    write_table(options.output, table)
    return 0


def _run_predict_changed(options: argparse.Namespace) -> int:
    from melanoma.catalogue import read_catalogue
    from melanoma.metadata_changes import predict_changed
    from melanoma.prediction import subset_images
    from melanoma.store import Store
    from melanoma.training.checkpoints import load_model
    from melanoma.training.launch import device_for

    catalogue = read_catalogue(options.catalogue)
    store = Store.open(options.store)
    store.verify()
    changed = predict_changed(
        load_model(options.model, device_for(options.accelerator)),
        store,
        catalogue,
        subset_images(options.subset, catalogue, options.splits, options.fold),
        tta=options.tta,
    )
    changed.write(options.output)
    return 0


def _gradcam(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("gradcam", help="heat maps of right and wrong examples")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint (model.ckpt)")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--catalogue", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True, help="raw probabilities")
    parser.add_argument("--calibrated", type=Path, required=True, help="calibrated probabilities")
    parser.add_argument("--subset", choices=("val", "test"), default="test")
    parser.add_argument("--folds", type=int, default=1, help="models behind the predictions")
    parser.add_argument("--per-class", type=int, default=4)
    parser.add_argument("--method", default="gradcam")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--output", type=_folder, required=True, help="folder to write")
    _log_option(parser)
    parser.set_defaults(run=_run_gradcam)


def _run_gradcam(options: argparse.Namespace) -> int:
    from melanoma.catalogue import read_catalogue
    from melanoma.config import GradCam
    from melanoma.config_errors import build
    from melanoma.evaluation.tables import read_predictions
    from melanoma.explain.run import explain
    from melanoma.prediction import check_recipe
    from melanoma.store import Store
    from melanoma.training.checkpoints import load_model
    from melanoma.training.launch import device_for

    asked = {"per_class": options.per_class, "method": options.method}
    settings = build(GradCam, asked, "gradcam")
    store = Store.open(options.store)
    store.verify()
    model = load_model(options.model, device_for(options.accelerator))
    check_recipe(model, store)
    explain(
        model,
        store,
        read_catalogue(options.catalogue),
        read_predictions(options.predictions),
        read_predictions(options.calibrated),
        settings=settings,
        output=options.output,
        subset=options.subset,
        folds=options.folds,
    )
    return 0


def _predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "predict", help="classify JPEG images (research only, no medical device)"
    )
    parser.add_argument("images", type=Path, nargs="+", help="JPEG files, or folders of them")
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        required=True,
        help="checkpoint (model.ckpt), several times for their mean; or "
        "results/predictions/EXPERIMENT for the mean of its models",
    )
    parser.add_argument("--age", help="years")
    parser.add_argument("--sex", help="female or male")
    parser.add_argument("--site", help='e.g. "anterior torso"')
    parser.add_argument("--metadata", type=Path, help="table: image (name or path), age, sex, site")
    parser.add_argument("--operating-point", help="one of decision.json's; else its default")
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        help="average eight flips and rotations, or not; else as decision.json was fitted",
    )
    parser.add_argument("--gradcam", type=_folder, help="folder for heat maps")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="auto")
    parser.set_defaults(run=_run_predict)


def _run_predict(options: argparse.Namespace) -> int:
    from melanoma.inference import predict_files
    from melanoma.inference_input import read_metadata
    from melanoma.inference_models import load_ensemble
    from melanoma.inference_output import render
    from melanoma.training.launch import device_for

    given = {"age": options.age, "sex": options.sex, "site": options.site}
    if options.metadata and any(value is not None for value in given.values()):
        raise InputError("--metadata gives age, sex and site of each image: leave the others out")
    device = str(device_for(options.accelerator))
    ensemble = load_ensemble(options.model, device)
    table = predict_files(
        options.images,
        ensemble,
        metadata=read_metadata(options.metadata) if options.metadata else given,
        device=device,
        operating_point=options.operating_point,
        tta=options.tta,
        gradcam_folder=options.gradcam,
    )
    failed = table["error"] != ""
    # Each error is on stderr already; programs get their rows all the same.
    if not failed.all() or options.format != "table":
        text = render(
            table,
            options.format,
            models=[model.path for model in ensemble.models],
            together=ensemble.together,
            undecided=ensemble.why_undecided(),
        )
        _write(text)
    return 1 if failed.any() else 0


def _write(text: str) -> None:
    """Write to stdout, escaping what it cannot take, such as names of files that are no text."""
    code = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(code, "backslashreplace").decode(code))


def _doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("doctor", help="what this machine or cluster has and lacks")
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--profile", type=Path, help="the workflow's profile (config.yaml)")
    parser.add_argument("--deep", action="store_true", help="start a small job on the nodes too")
    parser.set_defaults(run=_run_doctor)


def _run_doctor(options: argparse.Namespace) -> int:
    from melanoma import doctor
    from melanoma.config import read

    if not options.config.exists():
        raise InputError(
            f"no {options.config} here; go to the folder of the run, or name one with --config"
        )
    here = doctor.surroundings(Path.cwd(), options.profile)
    findings = doctor.diagnose(read(options.config), here, deep=options.deep)
    sys.stdout.write(doctor.render(findings) + doctor.verdict(findings, here) + "\n")
    return 1 if doctor.failed(findings) else 0


def _verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("verify", help="whether results are as the workflow wrote them")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path(), help="working folder, which holds results/"
    )
    parser.add_argument("--images", action="store_true", help="read every image of the archive too")
    parser.set_defaults(run=_run_verify)


def _run_verify(options: argparse.Namespace) -> int:
    from melanoma import verify

    checks = verify.verify(options.folder, images=options.images)
    sys.stdout.write(verify.render(checks))
    return 1 if verify.failed(checks) else 0


def _export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("export", help="write a checkpoint as ONNX or torch.export file")
    parser.add_argument(
        "model", type=Path, help="checkpoint (model.ckpt), or results/predictions/EXPERIMENT"
    )
    parser.add_argument("target", type=Path, help="file to write: .onnx or .pt2")
    parser.set_defaults(run=_run_export)


def _run_export(options: argparse.Namespace) -> int:
    from melanoma.export import export_onnx, export_program

    forms = {".onnx": export_onnx, ".pt2": export_program}
    if options.target.suffix not in forms:
        raise InputError(f"{options.target}: the name must end in .onnx or .pt2")
    forms[options.target.suffix](options.model, options.target)
    return 0


def _demo_data(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("demo-data", help="draw an archive in the official format")
    parser.add_argument("folder", type=_folder)
    parser.add_argument("--images", type=int, default=600, help="at least 8, one of each class")
    parser.add_argument("--test-images", type=int, default=120, help="at least 9")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=_run_demo_data)


def _run_demo_data(options: argparse.Namespace) -> int:
    from melanoma.isic import CLASSES
    from melanoma.progress import Progress
    from melanoma.synthetic import write_archive

    if options.images < len(CLASSES) or options.test_images <= len(CLASSES):
        raise InputError(
            "demo-data: one image of each class is needed, and in the test set one of none: "
            f"--images {len(CLASSES)} and --test-images {len(CLASSES) + 1} at least"
        )
    write_archive(
        options.folder,
        images=options.images,
        test_images=options.test_images,
        seed=options.seed,
        progress=Progress("drawing").tell,
    )
    return 0


def _schema(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("schema", help="write the schema and the list of every key")
    parser.add_argument("--schema", type=Path, default=Path("workflow/schemas/config.schema.yaml"))
    parser.add_argument("--keys", type=Path, default=Path("config/README.md"))
    parser.set_defaults(run=_run_schema)


def _run_schema(options: argparse.Namespace) -> int:
    from melanoma.config_docs import keys_page, schema_text
    from melanoma.files import write_text

    write_text(options.schema, schema_text())
    write_text(options.keys, keys_page())
    return 0


if __name__ == "__main__":
    sys.exit(main())

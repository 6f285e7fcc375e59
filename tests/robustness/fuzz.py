"""Thousands of damaged files through the ways that files from outside come in, and a tally.

    PYTHONPATH=tests/unit python tests/robustness/fuzz.py FOLDER --cases 50000

Each way in must answer every file with a result of the promised form or with an `InputError`.
Blocks of cases run in processes of their own, so that a crash of a decoder ends a block and is
counted; FOLDER/fuzz.csv has a row for each block, from which a later call goes on.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import texts
from mutating import archive_case, jpeg_case, model_case, text_case

from melanoma import images, isic
from melanoma.errors import InputError
from melanoma.inspection import COLUMNS, inspect_shard

BLOCK = 500
COLUMNS_OF_TALLY = ("way", "first", "cases", "accepted", "refused", "wrong", "slowest_s", "peak_mb")
BATCH = 50
"""Files of one call of `melanoma predict`."""

SETTINGS = [
    (hair, framing, size)
    for hair in ("lines", "none", "dullrazor")
    for framing in ("crop", "pad", "stretch")
    for size in (32, 64)
]


@dataclass
class Tally:
    """What became of a block.

    Attributes:
        accepted: cases that gave a result of the promised form.
        refused: cases answered with an `InputError`.
        wrong: what neither of these is, in words.
        slowest: CPU seconds of the slowest case, or batch of `melanoma predict`.
    """

    accepted: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0


Way = Callable[[Sequence[int], Path, Tally], None]


def through_prepare(numbers: Sequence[int], folder: Path, tally: Tally) -> None:
    """JPEG bytes to pixels, under every setting in turn."""
    for number in numbers:
        data = jpeg_case(number)
        hair, framing, size = SETTINGS[number % len(SETTINGS)]
        with _timed(tally), _answers(tally, f"prepare {number}"):
            pixels = images.prepare(data, size=size, framing=framing, hair_removal=hair)
            assert pixels.shape == (size, size, 3)
            assert pixels.dtype == np.uint8


def through_archive(numbers: Sequence[int], folder: Path, tally: Tally) -> None:
    """A zip to the table of what is in it."""
    path = folder / "images.zip"
    for number in numbers:
        path.write_bytes(archive_case(number))
        with _timed(tally), _answers(tally, f"archive {number}"):
            table = inspect_shard(path, 0, 1)
            assert tuple(table.columns) == COLUMNS
            assert ((table["error"] == "") == (table["width"] > 0)).all()


def through_predict(numbers: Sequence[int], folder: Path, tally: Tally) -> None:
    """Files to probabilities, as `melanoma predict` does, heat maps included now and then."""
    from melanoma.inference import predict_files

    for start in range(0, len(numbers), BATCH):
        paths = []
        for number in numbers[start : start + BATCH]:
            paths.append(folder / f"{number}.jpg")
            paths[-1].write_bytes(jpeg_case(OTHERS + number))
        maps = folder / "maps" if numbers[start] % (4 * BATCH) == 0 else None
        with _timed(tally):
            try:
                table = predict_files(paths, [folder / "model.ckpt"], gradcam_folder=maps)
            except Exception as error:
                tally.wrong.append(f"predict {numbers[start]}: {type(error).__name__}: {error}")
                continue
        good = table["error"] == ""
        sums = table.loc[good, list(isic.CLASSES)].astype(float).sum(axis=1)
        if not np.allclose(sums, 1, atol=1e-3) or len(table) != len(paths):
            tally.wrong.append(f"predict {numbers[start]}: no distribution over the classes")
        tally.accepted += int(good.sum())
        tally.refused += int((~good).sum())
        for path in paths:
            path.unlink()


def through_tables(numbers: Sequence[int], folder: Path, tally: Tally) -> None:
    """Tables and decisions, each by its own reader."""
    readers, seeds, inner = texts.readers(), texts.examples(), folder / "texts"
    inner.mkdir(exist_ok=True)
    for number in numbers:
        name = sorted(readers)[number % len(readers)]
        path = inner / name
        path.write_bytes(text_case(number, (seeds[name],)))
        with _timed(tally), _answers(tally, f"{name} {number}"):
            assert readers[name](path) is not None


def through_model(numbers: Sequence[int], folder: Path, tally: Tally) -> None:
    """Checkpoints: damaged files, and sound ones whose contents were swapped or dropped."""
    from melanoma.training.checkpoints import load_model

    path, whole = folder / "damaged.ckpt", (folder / "model.ckpt").read_bytes()
    for number in numbers:
        path.write_bytes(model_case(number, whole))
        with _timed(tally), _answers(tally, f"model {number}"):
            assert load_model(path).classes == isic.CLASSES


WAYS: dict[str, tuple[Way, int]] = {
    "prepare": (through_prepare, 15),
    "predict": (through_predict, 15),
    "archive": (through_archive, 12),
    "tables": (through_tables, 7),
    "model": (through_model, 1),
}
"""The ways in, and how many blocks of 50 go each of them."""

OTHERS = 10_000_000
"""Added to the numbers of the files for `melanoma predict`: not those of `through_prepare`."""


class _timed:  # noqa: N801 - used as a statement
    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __enter__(self) -> None:
        self.began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.tally.slowest = max(self.tally.slowest, time.process_time() - self.began)


class _answers:  # noqa: N801 - used as a statement
    """Counts how a case ends; an error that is no `InputError` is noted, not raised."""

    def __init__(self, tally: Tally, case: str) -> None:
        self.tally, self.case = tally, case

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> bool:
        if kind is None:
            self.tally.accepted += 1
        elif issubclass(kind, InputError):
            self.tally.refused += 1
        elif issubclass(kind, Exception):
            self.tally.wrong.append(f"{self.case}: {kind.__name__}: {error}")
        return kind is None or issubclass(kind, Exception)


def checkpoint(path: Path) -> None:
    """A model with random weights, the smallest that takes images and metadata."""
    import explain_examples

    explain_examples.checkpoint(path, size=32)


def block(way: str, first: int, cases: int, folder: str) -> tuple[Tally, float]:
    """Run a block; in a process of its own."""
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    tally = Tally()
    WAYS[way][0](range(first, first + cases), Path(folder), tally)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return tally, peak


def _send(way: str, first: int, cases: int, folder: str, pipe: object) -> None:
    with open(os.devnull, "w") as silence:  # noqa: PTH123
        os.dup2(silence.fileno(), 2)  # libjpeg warns of each file
    pipe.send(block(way, first, cases, folder))  # type: ignore[attr-defined]


def run_block(way: str, first: int, cases: int, folder: Path) -> tuple[object, ...]:
    """A row of the tally."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(way, first, cases, str(folder), sender))
    process.start()
    sender.close()
    try:
        tally, peak = receiver.recv()
    except EOFError:
        process.join()
        return way, first, cases, 0, 0, f"ended with status {process.exitcode}", 0, 0
    process.join()
    wrong = " | ".join(tally.wrong)
    return (
        *(way, first, cases, tally.accepted, tally.refused, wrong),
        *(f"{tally.slowest:.2f}", round(peak)),
    )


def main() -> int:
    """Run until there are enough cases; the exit status tells whether all were answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=50_000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    model, path = options.folder / "model.ckpt", options.folder / "fuzz.csv"
    if not model.exists():
        checkpoint(model)
        (options.folder / "decision.json").write_bytes(texts.examples()["decision.json"])
    while (done := sum(int(row["cases"]) for row in _rows(path))) < options.cases:
        way, first = next_block(_rows(path))
        row = run_block(way, first, min(BLOCK, options.cases - done), options.folder)
        with path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerow(row)
    return report(_rows(path))


def next_block(rows: list[dict[str, str]]) -> tuple[str, int]:
    """The way that lags most behind its share, and its first case that has not been run."""
    cases = {way: sum(int(row["cases"]) for row in rows if row["way"] == way) for way in WAYS}
    way = min(WAYS, key=lambda way: cases[way] / WAYS[way][1])
    return way, cases[way]


def report(rows: list[dict[str, str]]) -> int:
    """Print the tally."""
    wrong = [row for row in rows if row["wrong"]]
    for way in WAYS:
        own = [row for row in rows if row["way"] == way]
        if not own:
            continue
        cases, accepted, refused = (
            sum(int(row[name]) for row in own) for name in ("cases", "accepted", "refused")
        )
        slowest = max(float(row["slowest_s"]) for row in own)
        peak = max(int(row["peak_mb"]) for row in own)
        print(
            f"{way}: {cases} cases, {accepted} accepted, {refused} refused with a message, "
            f"{cases - accepted - refused} neither; slowest {slowest} s CPU, peak {peak} MB"
        )
    for row in wrong:
        print(f"WRONG in {row['way']} from {row['first']}: {row['wrong']}")
    return 1 if wrong else 0


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [dict(zip(COLUMNS_OF_TALLY, row, strict=True)) for row in csv.reader(stream)]


if __name__ == "__main__":
    sys.exit(main())

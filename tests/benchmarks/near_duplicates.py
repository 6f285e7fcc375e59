"""Measure how many planted near-duplicates are found in an archive, and how many pairs are false.

    python tests/benchmarks/near_duplicates.py FOLDER [--copies 40] [--seed 0] [--sheet pairs.png]

FOLDER holds the official training files. Copies are planted beside its images: resized to 60 %,
saved at JPEG quality 60, cropped to the centre square, turned by 90 degrees, mirrored. A pair is
false if it is neither a copy with its original (or another photograph of that lesion) nor of one
lesion. The sheet shows the pairs found among the untouched images. Exit status 1 below a recall
of 0.98 for any kind of copy, or above 2 false pairs per 1,000 images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from melanoma.archive import Archive
from melanoma.duplicates import find_duplicates, join_groups
from melanoma.inspection import inspect_shard
from melanoma.official import read_ground_truth, read_metadata
from melanoma.tables import Problems

RECALL = 0.98
FALSE_PER_1000 = 2.0


def save(pixels: np.ndarray, quality: int = 95) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels), settings)[1].tobytes()


def centre_square(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def resized(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


KINDS: dict[str, Callable[[np.ndarray], bytes]] = {
    "resized to 60 %": lambda pixels: save(resized(pixels)),
    "JPEG quality 60": lambda pixels: save(pixels, 60),
    "centre crop to square": lambda pixels: save(centre_square(pixels)),
    "rotated by 90": lambda pixels: save(np.rot90(pixels)),
    "mirrored": lambda pixels: save(pixels[:, ::-1]),
}


def plant(source: Path, target: Path, copies: int, seed: int) -> pd.DataFrame:
    """Write `target` with all images of `source` and the copies; tells what was planted.

    Crops are made of whole frames where there are enough: a square image's would be itself.
    """
    generator = np.random.default_rng(seed)
    planted = []
    with Archive(source) as archive, zipfile.ZipFile(target, "w") as out:
        wide = []
        for image in archive.images:
            jpeg = archive.read(archive.member(image))
            out.writestr(f"images/{image}.jpg", jpeg)
            shape = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
            if shape.shape[0] != shape.shape[1]:
                wide.append(image)
        order = [str(image) for image in generator.permutation(archive.images)]
        crops = [str(image) for image in generator.permutation(wide)][:copies]
        crops += [image for image in order if image not in set(wide)][: copies - len(crops)]
        rest = [image for image in order if image not in set(crops)]
        for kind, change in KINDS.items():
            chosen = crops if "crop" in kind else [rest.pop() for _ in range(copies)]
            for original in chosen:
                jpeg = archive.read(archive.member(original))
                pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
                image = f"COPY_{len(planted):07d}"
                out.writestr(f"images/{image}.jpg", change(pixels))
                planted.append((image, original, kind))
    return pd.DataFrame(planted, columns=["image", "original", "kind"])


def describe(archive: Path, folder: Path, planted: pd.DataFrame) -> pd.DataFrame:
    """Inspected images with lesions and diagnoses; copies have no lesion id."""
    stem = folder / "ISIC_2019_Training_"
    problems = Problems()
    truth = read_ground_truth(f"{stem}GroundTruth.csv", kind="train", problems=problems)
    fields = read_metadata(f"{stem}Metadata.csv", kind="train", problems=problems)
    known = truth.merge(fields[["image", "lesion_id"]], on="image")
    copies = planted.merge(known, left_on="original", right_on="image", suffixes=("", "_own"))
    copies = copies.assign(lesion_id="")[["image", "diagnosis", "lesion_id"]]
    return inspect_shard(archive, 0, 1).merge(pd.concat([known, copies]), on="image")


def measure(table: pd.DataFrame, pairs: pd.DataFrame, planted: pd.DataFrame) -> bool:
    """Print recall and false pairs; tells whether both are good."""
    found = set(zip(pairs["image_a"], pairs["image_b"], strict=True))
    group = dict(zip(table["image"], join_groups(table, pairs), strict=True))
    copies = planted.assign(
        paired=[
            (a, b) in found or (b, a) in found
            for a, b in zip(planted["image"], planted["original"], strict=True)
        ],
        joined=[
            group[a] == group[b] for a, b in zip(planted["image"], planted["original"], strict=True)
        ],
    )
    recall = copies.groupby("kind", sort=False)[["paired", "joined"]].mean()
    print(recall.to_string())
    print(f"all copies: recall {copies['paired'].mean():.4f}, joined {copies['joined'].mean():.4f}")
    origin = dict(zip(planted["image"], planted["original"], strict=True))
    own = table["lesion_id"].where(table["lesion_id"] != "", table["image"])
    lesion = dict(zip(table["image"], own, strict=True))
    false = pairs[
        [
            lesion[origin.get(a, a)] != lesion[origin.get(b, b)]
            for a, b in zip(pairs["image_a"], pairs["image_b"], strict=True)
        ]
    ]
    rate = 1000 * len(false) / len(table)
    print(f"{len(false)} false pairs, {rate:.2f} per 1,000 images")
    print(false.to_string() if len(false) else "")
    return bool(recall["paired"].min() >= RECALL and rate <= FALSE_PER_1000)


def draw_sheet(pairs: pd.DataFrame, archive: Path, path: Path, side: int = 240) -> None:
    """Show pairs side by side with their similarity, most alike first."""
    rows = []
    with Archive(archive) as images:
        for pair in pairs.sort_values("similarity", ascending=False).to_dict("records"):
            tiles = []
            for image in (pair["image_a"], pair["image_b"]):
                jpeg = np.frombuffer(images.read(images.member(image)), np.uint8)
                tile = cv2.resize(centre_square(cv2.imdecode(jpeg, 1)), (side, side))
                cv2.putText(tile, image[5:22], (4, 14), 0, 0.45, (255, 255, 255), 1)
                tiles.append(tile)
            text = f"{pair['similarity']:.3f} view {pair['view']}"
            cv2.putText(tiles[0], text, (4, side - 6), 0, 0.45, (255, 255, 255), 1)
            rows.append(np.hstack(tiles))
    if rows:
        rows += [np.zeros_like(rows[0])] * (-len(rows) % 4)
        lines = [np.hstack(rows[i : i + 4]) for i in range(0, len(rows), 4)]
        cv2.imwrite(str(path), np.vstack(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description="Recall and false pairs of near-duplicates.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "images.zip"
        source = options.folder / "ISIC_2019_Training_Input.zip"
        planted = plant(source, archive, options.copies, options.seed)
        table = describe(archive, options.folder, planted)
        start = time.process_time()
        pairs = find_duplicates(table, archive)
        print(f"{len(table)} images searched in {time.process_time() - start:.1f} s of CPU")
        good = measure(table, pairs, planted)
        copies = set(planted["image"])
        untouched = pairs[~pairs["image_a"].isin(copies) & ~pairs["image_b"].isin(copies)]
        across = untouched[~untouched["same_lesion"]]
        print(f"untouched images: {len(untouched)} pairs, {len(across)} across lesions")
        if options.sheet:
            draw_sheet(untouched, archive, options.sheet)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

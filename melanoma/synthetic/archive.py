"""Writing the drawn archive: zips and CSV files with the official names and columns."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from melanoma import isic
from melanoma.files import atomic, write_text
from melanoma.notice import DRAWN_ATTRIBUTION
from melanoma.synthetic.scene import draw_image
from melanoma.synthetic.tables import Case, draw_cases

_LOG = logging.getLogger(__name__)

SIZES = (
    *[(300, 225)] * 8,
    *[(400, 300)] * 5,
    *[(384, 384)] * 2,
    *[(450, 600)] * 1,
    *[(511, 383)] * 1,
    *[(600, 450)] * 2,
    *[(1024, 1024)] * 1,
)
"""Width and height of the images, each entry equally likely: mostly small, so that drawing and
processing are quick; the large ones are the commonest sizes of the official archive."""

_QUALITY = 90
_DATE = (2019, 5, 13, 0, 0, 0)
_LICENSE = "CC0 1.0 Universal: https://creativecommons.org/publicdomain/zero/1.0/\n"

Tell = Callable[[int, int], None]
"""Called with the number of images drawn so far and in all."""


def write_archive(
    folder: Path,
    *,
    images: int = 600,
    test_images: int = 120,
    seed: int = 0,
    sizes: Sequence[tuple[int, int]] = SIZES,
    progress: Tell | None = None,
) -> None:
    """Write a drawn archive in the official format, under the official file names.

    The same arguments give the same bytes. Every class has at least eight lesions where there
    are 600 images. Files are written one after the other, each whole or not at all.

    Args:
        folder: made if missing; gets ISIC_2019_Training_{Input.zip,GroundTruth.csv,Metadata.csv}
            and the same for Test.
        images: training images, at least 8.
        test_images: test images, at least 9, about a quarter of them of no known diagnosis.
        seed: of everything that is drawn.
        sizes: width and height of images in pixels, each entry equally likely.
        progress: told after each image; None logs a line at every tenth.

    Raises:
        ValueError: too few images.
    """
    folder = Path(folder)
    progress = progress or _log_tenths
    train = draw_cases(np.random.default_rng([seed, 0]), images, test=False)
    test = draw_cases(np.random.default_rng([seed, 1]), test_images, test=True)
    total = len(train) + len(test)
    done = 0
    for number, (name, cases) in enumerate((("Training", train), ("Test", test))):
        stem = f"ISIC_2019_{name}"
        write_text(folder / f"{stem}_GroundTruth.csv", _ground_truth(cases, test=number == 1))
        write_text(folder / f"{stem}_Metadata.csv", _metadata(cases, test=number == 1))
        with atomic(folder / f"{stem}_Input.zip") as partial, zipfile.ZipFile(partial, "w") as out:
            _add(out, f"{stem}_Input/ATTRIBUTION.txt", DRAWN_ATTRIBUTION.encode())
            _add(out, f"{stem}_Input/LICENSE.txt", _LICENSE.encode())
            for case in cases:
                jpeg = _jpeg(case, [seed, number], sizes)
                _add(out, f"{stem}_Input/{case.image}.jpg", jpeg)
                done += 1
                progress(done, total)


def _log_tenths(done: int, total: int) -> None:
    if done * 10 // total != (done - 1) * 10 // total:
        _LOG.info("drawn %d of %d images", done, total)


def _add(out: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Store a member with a fixed time, so that the same images give the same bytes."""
    out.writestr(zipfile.ZipInfo(name, _DATE), content)


def _jpeg(case: Case, seed: list[int], sizes: Sequence[tuple[int, int]]) -> bytes:
    lesion_seed = [*seed, case.lesion.number]
    pick = int(np.random.default_rng([*lesion_seed, 2, case.view]).integers(len(sizes)))
    width, height = sizes[pick]
    rgb = draw_image(case.lesion.diagnosis, lesion_seed, case.view, width=width, height=height)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    encoded, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert encoded
    return bytes(content)


def _ground_truth(cases: Sequence[Case], *, test: bool) -> str:
    """One-hot rows as the challenge writes them; the test set's with its two weights."""
    columns = [*isic.GROUND_TRUTH_COLUMNS, *(isic.WEIGHT_COLUMNS if test else ())]
    rows = [columns]
    for number, case in enumerate(cases):
        hot = [str(float(case.lesion.diagnosis == c)) for c in isic.GROUND_TRUTH_COLUMNS[1:]]
        # A few test images were for the challenge's live validation and don't count.
        validation = number % 20 == 19
        weights = [str(float(not validation)), str(float(validation))] if test else []
        rows.append([case.image, *hot, *weights])
    return _csv(rows)


def _metadata(cases: Sequence[Case], *, test: bool) -> str:
    if test:
        rows = [[c.image, c.age, c.site, c.sex] for c in cases]
        return _csv([list(isic.TEST_METADATA_COLUMNS), *rows])
    rows = [[c.image, c.age, c.site, c.lesion_id, c.sex] for c in cases]
    return _csv([list(isic.METADATA_COLUMNS), *rows])


def _csv(rows: list[list[str]]) -> str:
    return "".join(",".join(row) + "\r\n" for row in rows)

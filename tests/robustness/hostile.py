"""An archive of which every name, value and image that may be odd is odd."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import mutating

from melanoma import isic

PLANT = "PLANTED"
"""A file of this name appears where a shell runs what is only a name."""

FOLDER = f'it\'s a "work" folder $(touch {PLANT}) `touch {PLANT}`;touch {PLANT};é'
"""Name of the working folder."""

FILE = f"$(touch {PLANT}) 'x' \"y\" {{z}} & * ? ; | > {PLANT}\nsecond line"
"""Start of the names of the local source files."""

WEIGHTS = f"net $(touch {PLANT}) '\" {{input}} ;touch {PLANT}.pth"
"""Name of the file of pretrained weights, which a rule's shell command has to quote."""

SECRET = "Jane Doe, born 1970-01-01"
"""In a column that is none of the official ones."""

ABSENT = "DF"
"""The class of which there is no image."""

IDS = (
    "NA",
    "001",
    "with space",
    "it's",
    'quo"ted',
    "com,ma",
    "semi;colon",
    "-rf",
    f"$(touch {PLANT})",
    f"`touch {PLANT}`",
    "<script>alert(1)<!--",
    "&amp;<img src=x onerror=alert(2)>",
    "{braces}",
    "per%20cent%",
    "new\nline",
    "ümlaut",
    "#hash?query",
    "__init__",
)
"""Image ids that take the place of official ones."""


def write(drawn: Path, folder: Path) -> dict[str, str]:
    """Turn a drawn archive into a hostile one that can still be used.

    Ids are odd; the tables have a byte order mark, another line end, another order of columns,
    spaces and a column of names; ages, sexes and sites are not to be believed; some images are
    grey, CMYK, turned, progressive, of one pixel; some cannot be read at all; a class is absent.

    Args:
        drawn: folder of `melanoma.synthetic.write_archive`.
        folder: gets the three files.

    Returns:
        The configuration of the training set.
    """
    folder.mkdir(parents=True)
    truth = _rows(drawn / "ISIC_2019_Training_GroundTruth.csv")
    truth = [row for row in truth if float(row[ABSENT]) == 0]
    names = {row["image"]: row["image"] for row in truth}
    # Of the commonest class, so that each class keeps enough lesions.
    common = [row["image"] for row in truth if float(row["NV"]) == 1]
    names.update(zip(common, IDS, strict=False))
    assert len(common) >= len(IDS), "the drawn archive is too small"
    files = {
        "images": folder / f"{FILE} images.zip",
        "ground_truth": folder / f"{FILE} truth.csv",
        "metadata": folder / f"{FILE} metadata.csv",
    }
    _write_truth(files["ground_truth"], truth, names)
    metadata = _rows(drawn / "ISIC_2019_Training_Metadata.csv")
    _write_metadata(files["metadata"], [row for row in metadata if row["image"] in names], names)
    _write_images(files["images"], drawn / "ISIC_2019_Training_Input.zip", names)
    return {name: str(path) for name, path in files.items()}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _write_truth(path: Path, rows: list[dict[str, str]], names: dict[str, str]) -> None:
    """With a byte order mark, LF, columns turned round, spaces around values."""
    columns = [*reversed(isic.GROUND_TRUTH_COLUMNS), "patient"]
    with path.open("w", newline="\n", encoding="utf-8-sig") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            told = {**row, "image": names[row["image"]], "patient": SECRET}
            writer.writerow([told[column] for column in columns])


def _write_metadata(path: Path, rows: list[dict[str, str]], names: dict[str, str]) -> None:
    """With values that cannot be, in rows that stay."""
    odd = [("age_approx", "-5"), ("age_approx", "200"), ("age_approx", "abc")]
    odd += [("sex", "robot"), ("anatom_site_general", "moon"), ("age_approx", "NaN")]
    columns = [*isic.METADATA_COLUMNS, "patient"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for number, row in enumerate(rows):
            told = {**row, "image": names[row["image"]], "patient": SECRET}
            told.update([odd[number]] if number < len(odd) else [])
            writer.writerow(
                [f" {told[column]} " if column == "sex" else told[column] for column in columns]
            )


def _write_images(path: Path, drawn: Path, names: dict[str, str]) -> None:
    """In nested folders, beside other files; all kinds of JPEG and three broken ones among them."""
    kinds = [data for data in mutating.jpegs() if len(data) > 700]
    broken = [b"", b"\x89PNG\r\n\x1a\n not a JPEG", kinds[0][:-400]]
    with zipfile.ZipFile(drawn) as archive, zipfile.ZipFile(path, "w") as out:
        out.writestr("deep/er/notes.txt", SECRET)
        out.writestr("__MACOSX/._x.jpg", b"companion")
        members = [name for name in archive.namelist() if Path(name).stem in names]
        for number, member in enumerate(members):
            data = archive.read(member)
            image = names[Path(member).stem]
            plain = image == Path(member).stem
            if plain and broken and number % 5 == 4:
                data = broken.pop()
            elif plain and kinds and number % 5 == 3:
                data = kinds.pop()
            out.writestr(f"deep/er/{image}.{'jpg' if number % 2 else 'JPEG'}", data)

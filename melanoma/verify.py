"""Whether a folder of results is still what the workflow wrote: every recorded hash, read again.

`results/provenance.json` names the files that the results were made from and consist of, with
their sha256; the image stores carry their own; the catalogue holds the CRC of each image.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from melanoma.archive import Archive
from melanoma.catalogue import read_catalogue
from melanoma.errors import InputError
from melanoma.files import read_json, sha256_of
from melanoma.store import Store
from melanoma.wording import counted

_LOG = logging.getLogger(__name__)

RECORD = "results/provenance.json"

State = Literal["unchanged", "changed", "missing", "not here"]
"""A missing file is one of the results; one that is not here is an input, which may live apart."""


@dataclass(frozen=True)
class Check:
    """What became of one file.

    Attributes:
        path: as recorded, relative to the working folder.
        state: see `State`.
        detail: what is wrong, "" where nothing is.
    """

    path: str
    state: State
    detail: str = ""


def verify(folder: Path, *, images: bool = False) -> list[Check]:
    """Compare every recorded file of a working folder with its hash.

    Args:
        folder: the working folder, which holds `results/`.
        images: also read every image of the archive, which takes minutes; else the CRCs that the
            archive's directory declares are compared alone.

    Returns:
        One check for each file, in the order of the record: inputs and tables, image stores,
        results, the archive.

    Raises:
        InputError: no record, or not one of this version of the code.
    """
    record = _read_record(folder / RECORD)
    return [
        *(_file(folder, path, entry) for path, entry in record["data"].items()),
        *(_store(folder, path, entry) for path, entry in record["images"].items()),
        *(
            _result(folder, path, entry, record["images"])
            for path, entry in record["results"].items()
        ),
        *_archives(folder, record["data"], images=images),
    ]


def failed(checks: list[Check]) -> bool:
    """Whether anything is not as it was written."""
    return any(check.state in ("changed", "missing") for check in checks)


def render(checks: list[Check]) -> str:
    """The checks as text for people, a line each and a last one that sums up."""
    width = max(len(check.state) for check in checks)
    lines = [
        f"{check.state:{width}}  {check.path}{f': {check.detail}' if check.detail else ''}"
        for check in checks
    ]
    bad = sum(check.state in ("changed", "missing") for check in checks)
    verdict = (
        f"{counted(len(checks), 'file')} checked: everything that is here is as it was written"
    )
    if bad:
        verdict = (
            f"{bad} of {len(checks)} files are not what the workflow wrote: "
            "remove them and run it again"
        )
    return "\n".join([*lines, "", verdict]) + "\n"


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a working folder with finished results")
    try:
        record = read_json(path)
        complete = all(
            isinstance(entry, dict)
            for part in ("data", "images", "results")
            for entry in record[part].values()
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        complete = False
    if not complete:
        raise InputError(
            f"{path}: not a record of this version of the code; delete it and run the workflow"
        )
    return dict(record)


def _file(folder: Path, name: str, entry: Mapping[str, Any]) -> Check:
    path = folder / name
    if not path.is_file():
        is_input = not name.startswith("results/")
        return Check(name, "not here" if is_input else "missing")
    found = sha256_of(path)
    if found != entry.get("sha256"):
        return Check(name, "changed", f"sha256 {found}, recorded {entry.get('sha256')}")
    return Check(name, "unchanged")


def _store(folder: Path, name: str, entry: Mapping[str, Any]) -> Check:
    path = folder / name
    if not path.is_file():
        return Check(name, "missing")
    _LOG.info("reading %s", path.with_suffix(".npy"))
    try:
        store = Store.open(path.with_suffix(".npy"))
        store.verify()
    except InputError as error:
        return Check(name, "changed", str(error))
    if store.recipe != entry:
        return Check(name, "changed", "another recipe than the recorded one")
    return Check(name, "unchanged")


def _result(folder: Path, name: str, entry: Mapping[str, Any], stores: Mapping[str, Any]) -> Check:
    """A result's hash, and for a model that the store it was trained on is one of the record's."""
    check = _file(folder, name, entry)
    if check.state != "unchanged" or not name.endswith(".ckpt"):
        return check
    from melanoma.training import checkpoints

    recipe = checkpoints.read(folder / name)["recipe"]
    if recipe.get("sha256") not in {store.get("sha256") for store in stores.values()}:
        return Check(name, "changed", "trained on an image store that is none of the record's")
    return check


def _archives(folder: Path, data: Mapping[str, Any], *, images: bool) -> Iterator[Check]:
    """The archive of each recorded catalogue."""
    for name in data:
        catalogue = Path(name)
        if catalogue.parent.name != "catalogue" or not (folder / name).is_file():
            continue
        archive = Path("resources", "isic2019", catalogue.stem, "images.zip")
        if not (folder / archive).is_file():
            yield Check(str(archive), "not here")
            continue
        detail = _archive(folder / archive, folder / name, images=images)
        yield Check(str(archive), "changed" if detail else "unchanged", detail)


def _archive(path: Path, catalogue: Path, *, images: bool) -> str:
    """What is wrong with an archive, "" where nothing is."""
    try:
        table = read_catalogue(catalogue)
        with Archive(path) as archive:
            for member, crc in zip(table["member"], table["crc"], strict=True):
                if archive.crc(member) != crc:
                    return f"{member!r} is another image than the catalogue's"
                if images:
                    archive.read(member)
    except InputError as error:
        return str(error)
    return ""

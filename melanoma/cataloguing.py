"""Building the catalogue: official tables, the archive and what inspecting it found, joined."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from melanoma import inspection
from melanoma.archive import Archive
from melanoma.catalogue import COLUMNS, QUARANTINE_COLUMNS, Catalogue
from melanoma.duplicates import Groups, find_duplicates, join_groups, no_pairs
from melanoma.errors import InputError
from melanoma.image_names import ImageNames
from melanoma.isic import WEIGHT_COLUMNS, source_of
from melanoma.official import SetName, read_ground_truth, read_metadata
from melanoma.tables import Problems, too_many, with_ids
from melanoma.wording import SHOWN, counted, first_few

_LOG = logging.getLogger(__name__)


def build_catalogue(
    ground_truth: Path | str,
    metadata: Path | str | None,
    archive: Path | str,
    inspected: Sequence[pd.DataFrame | Path | str],
    *,
    kind: SetName = "train",
    sources: Mapping[str, str] | None = None,
    near_duplicates: bool = True,
) -> Catalogue:
    """Join everything that is known of a set into one typed table.

    Args:
        ground_truth: CSV of diagnoses, see `melanoma.official`; it names images by file name, or
            by path where two folders of the archive hold files of one name.
        metadata: CSV of age, sex, site and lesion; None: all missing.
        archive: the zip of images.
        inspected: tables of `melanoma.inspection.inspect_shard`, or CSV files of them, for all
            shards in any order.
        kind: train or test.
        sources: where images, ground_truth and metadata come from, as configured; errors name
            it behind the file.
        near_duplicates: look for near-duplicates and join their lesions; else each lesion is a
            group of its own.

    Returns:
        The catalogue, its audit, what is in quarantine and the near-duplicate pairs. The same
        input gives the same tables in any order of rows, columns and shards.

    Raises:
        InputError: anything that would silently corrupt results: see `melanoma.official` and
            `melanoma.tables`; a lesion of two diagnoses; more images than
            `melanoma.tables.too_many` allows that are unreadable, without a row or without a
            file; shards that do not fit the archive.
    """
    paths = {"images": archive, "ground_truth": ground_truth, "metadata": metadata}
    with _naming({str(paths[name]): source for name, source in (sources or {}).items()}):
        return _build(
            *(ground_truth, metadata, archive, inspected),
            kind=kind,
            near_duplicates=near_duplicates,
        )


@contextlib.contextmanager
def _naming(sources: Mapping[str, str]) -> Iterator[None]:
    """Where an error names a file, name its source too: that is the one to mend."""
    try:
        yield
    except InputError as error:
        text = str(error)
        fetched = []
        for path, source in sources.items():
            if path != source and path in text:
                text = text.replace(path, f"{path} ({source})", 1)
                if source.lower().startswith(("http://", "https://")):
                    fetched.append(path)
        cure = f"\nTo fetch again what is wrong, remove {' or '.join(fetched)}" if fetched else ""
        raise InputError(text + cure) from None


def _build(
    ground_truth: Path | str,
    metadata: Path | str | None,
    archive: Path | str,
    inspected: Sequence[pd.DataFrame | Path | str],
    *,
    kind: SetName,
    near_duplicates: bool,
) -> Catalogue:
    problems = Problems()
    truth = read_ground_truth(ground_truth, kind=kind, problems=problems)
    seen, names = _inspected(inspected, Path(archive), problems)
    ids = list(seen["image"])
    truth = with_ids(truth, ids, names, Path(ground_truth), problems)
    broken = seen[seen["error"] != ""]
    _check_quarantine(broken, len(seen), Path(archive))
    _compare_images(truth, seen, Path(ground_truth), Path(archive), problems)
    fields = _no_fields(truth)
    if metadata is not None:
        told = read_metadata(metadata, kind=kind, problems=problems)
        told = with_ids(told, ids, names, Path(metadata), problems)
        fields = _fields(told, truth, Path(metadata), problems)
    table = truth.merge(fields, on="image", how="left").merge(
        seen[seen["error"] == ""], on="image", how="inner"
    )
    table = _complete(table, kind)
    if table.empty:
        raise InputError(f"{ground_truth}: no row has a usable image in {archive}")
    duplicates = find_duplicates(table, archive) if near_duplicates else no_pairs()
    groups = join_groups(table, duplicates)
    table["group"] = groups.names
    _note_cut_links(groups, Path(archive), problems)
    _note_label_noise(duplicates, Path(ground_truth), problems)
    columns = [*COLUMNS, *(WEIGHT_COLUMNS if kind == "test" else ())]
    quarantine = broken[list(QUARANTINE_COLUMNS)].reset_index(drop=True)
    _LOG.info(
        "%s of %s; %d in quarantine; %s",
        counted(len(table), "image"),
        counted(table["group"].nunique(), "group"),
        len(quarantine),
        counted(len(problems.notes), "note"),
    )
    return Catalogue(table[columns], problems.audit(), quarantine, duplicates)


def _no_fields(truth: pd.DataFrame) -> pd.DataFrame:
    """The metadata of the images of `truth` where there is no file of them: all missing."""
    return pd.DataFrame(
        {"image": truth["image"], "lesion_id": "", "age": float("nan"), "sex": "", "site": ""}
    )


def _fields(
    fields: pd.DataFrame, truth: pd.DataFrame, path: Path, problems: Problems
) -> pd.DataFrame:
    """Metadata of the images of `truth`."""
    known, described = set(truth["image"]), set(fields["image"])
    unknown = fields[~fields["image"].isin(known)]
    for row, image in unknown["image"].items():
        assert isinstance(row, int)
        problems.note("no diagnosis: row ignored", file=path, row=row, image=image)
    bare = sorted(known - described)
    for image in bare:
        problems.note("no metadata: taken as missing", file=path, image=image)
    _stop_if_many(list(unknown["image"]), len(truth), "have no diagnosis", path)
    _stop_if_many(bare, len(truth), "have a diagnosis but no row here", path)
    _check_lesions(truth, fields, path, problems)
    return fields[fields["image"].isin(known)]


def _check_lesions(
    truth: pd.DataFrame, fields: pd.DataFrame, path: Path, problems: Problems
) -> None:
    """A lesion has one diagnosis: two mean a wrong label or a wrong lesion id."""
    known = fields[fields["lesion_id"] != ""].reset_index().merge(truth, on="image")
    first = known.drop_duplicates("lesion_id").set_index("lesion_id")
    own = known["lesion_id"].map(first["diagnosis"])
    for entry in known[known["diagnosis"] != own].to_dict("records"):
        lesion = entry["lesion_id"]
        problems.stop(
            f"this lesion is {entry['diagnosis']} here and {first.loc[lesion, 'diagnosis']} in "
            f"image {first.loc[lesion, 'image']}, row {first.loc[lesion, 'row']}; "
            "correct the diagnosis or the lesion",
            row=int(entry["row"]),
            column="lesion_id",
            image=str(entry["image"]),
            value=str(lesion),
        )
    problems.raise_stops(path)


def _inspected(
    tables: Sequence[pd.DataFrame | Path | str], archive: Path, problems: Problems
) -> tuple[pd.DataFrame, ImageNames]:
    """All shards as one table in order of image, checked to be of this very archive; its names.

    Images of other kinds in the archive are told before anything stops: they may be why.
    """
    parts = [part if isinstance(part, pd.DataFrame) else _read_shard(part) for part in tables]
    if not parts:
        raise InputError(f"{archive}: no shard was inspected")
    seen = pd.concat(parts, ignore_index=True).sort_values("image", ignore_index=True)
    with Archive(archive) as images:
        same = list(seen["image"]) == list(images.images) and all(
            images.crc(images.member(image)) == crc
            for image, crc in zip(seen["image"], seen["crc"], strict=True)
        )
        names = images.names
        passed_over = images.passed_over()
    if passed_over:
        _LOG.warning("%s: %s", archive, passed_over)
        problems.note(passed_over, file=archive)
    if not same:
        raise InputError(
            f"{archive}: is not the archive that was inspected, or a shard is missing; "
            "delete results/inspect and run again"
        )
    return seen, names


def _read_shard(path: Path | str) -> pd.DataFrame:
    kinds = {**dict.fromkeys(inspection.COLUMNS, "str"), **inspection.NUMBERS}
    try:
        return pd.read_csv(path, dtype=kinds, keep_default_na=False)[list(inspection.COLUMNS)]
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a table of inspected images ({error}); run again") from error


def _check_quarantine(broken: pd.DataFrame, images: int, archive: Path) -> None:
    if too_many(len(broken), images):
        named = [f"{r['member']}: {r['error']}" for r in broken[:SHOWN].to_dict("records")]
        more = len(broken) - len(named)
        raise InputError(
            f"{archive}: {len(broken)} of {images} images cannot be used; download it again\n  "
            + "\n  ".join(named)
            + (f"\n  ... and {more} more" if more else "")
        )


def _compare_images(
    truth: pd.DataFrame, seen: pd.DataFrame, path: Path, archive: Path, problems: Problems
) -> None:
    """Note images without a row and rows without an image; stop where they are many."""
    rows = dict(zip(truth["image"], truth.index, strict=True))
    held = set(seen["image"])
    bare = sorted(held - set(rows))
    absent = sorted(set(rows) - held)
    for image in bare:
        problems.note("no row in the ground truth: left out", file=archive, image=image)
    for image in absent:
        problems.note("no image in the archive: left out", file=path, row=rows[image], image=image)
    another = f"have no row in {path}; is it of another set?"
    _stop_if_many(bare, len(truth), another, archive)
    _stop_if_many(absent, len(truth), f"are not in {archive}; is it of another set?", path)
    _tell_left_out(
        bare,
        "image of the archive has no row in the ground truth",
        "images of the archive have no row in the ground truth",
    )
    _tell_left_out(
        absent,
        "row of the ground truth has no image in the archive",
        "rows of the ground truth have no image in the archive",
    )
    for entry in seen[(seen["error"] != "") & seen["image"].isin(rows)].to_dict("records"):
        problems.note(
            f"unreadable, in quarantine: {entry['error']}",
            file=path,
            row=rows[entry["image"]],
            image=entry["image"],
        )


def _tell_left_out(images: list[str], one: str, several: str) -> None:
    """Warn of images that are lost, since few read the audit table."""
    if images:
        told = counted(len(images), one, several)
        _LOG.warning("%s: left out (%s)", told, first_few(images))


def _stop_if_many(images: Sequence[str], of: int, what: str, path: Path) -> None:
    """Stop where many ids of one file are not in another."""
    if too_many(len(images), of):
        raise InputError(f"{path}: {len(images)} images {what}: {first_few(images)}")


def _complete(table: pd.DataFrame, kind: SetName) -> pd.DataFrame:
    """Fill what is missing, add the source, sort."""
    texts = ["lesion_id", "sex", "site"]
    table[texts] = table[texts].fillna("")
    table["source"] = [source_of(lesion) for lesion in table["lesion_id"]]
    text_columns = ["image", "diagnosis", "source", "member", "crc", "fingerprint", *texts]
    table = table.astype(dict.fromkeys(text_columns, "str"))
    return table.sort_values("image", ignore_index=True)


def _note_cut_links(groups: Groups, archive: Path, problems: Problems) -> None:
    """Name the pairs that would have chained unrelated images into one group."""
    for pair in groups.cut.to_dict("records"):
        problems.note(
            f"taken for a near-duplicate of {pair['image_b']}, which would tie more than "
            f"{groups.limit} lesions into one group: an error of the search, not joined; look at "
            "both pictures, and join them by lesion_id if they are of one lesion",
            file=archive,
            severity="error",
            image=str(pair["image_a"]),
            value=f"{pair['similarity']:.2f}",
        )
    if len(groups.cut):
        first = groups.cut.iloc[-1]
        _LOG.warning(
            "%s would tie more than %d lesions into one group and %s not joined, e.g. %s and %s: "
            "see the audit",
            counted(len(groups.cut), "near-duplicate pair"),
            groups.limit,
            "is" if len(groups.cut) == 1 else "are",
            first["image_a"],
            first["image_b"],
        )


def _note_label_noise(duplicates: pd.DataFrame, path: Path, problems: Problems) -> None:
    for pair in duplicates[~duplicates["same_diagnosis"].astype(bool)].to_dict("records"):
        problems.note(
            f"near-duplicate of {pair['image_b']}, which is {pair['diagnosis_b']}: label noise",
            file=path,
            severity="info",
            column="diagnosis",
            image=str(pair["image_a"]),
            value=str(pair["diagnosis_a"]),
        )

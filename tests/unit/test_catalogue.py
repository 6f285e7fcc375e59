import csv
import io
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from image_examples import cut_and_closed
from PIL import Image

from melanoma import duplicates, jpeg
from melanoma.catalogue import COLUMNS, read_catalogue, write_catalogue
from melanoma.cataloguing import build_catalogue
from melanoma.errors import InputError
from melanoma.files import write_table
from melanoma.inspection import inspect_shard, shard_of
from melanoma.isic import GROUND_TRUTH_COLUMNS, METADATA_COLUMNS, WEIGHT_COLUMNS

DIAGNOSES = ("NV", "MEL", "BCC", "NV", "BKL", "NV", "MEL", "DF", "VASC", "SCC", "AK", "NV")


def picture(seed: int, width: int = 96, height: int = 64, channels: int = 3) -> np.ndarray:
    """Texture of several scales, unlike any other seed's."""
    generator = np.random.default_rng(seed)
    sides = [generator.integers(0, 256, (n, n, channels)).astype(np.uint8) for n in (5, 16)]
    layers = [cv2.resize(side, (width, height)).reshape(height, width, -1) for side in sides]
    return ((layers[0].astype(int) + layers[1]) // 2).astype(np.uint8)


def encode(pixels: np.ndarray, *settings: int, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, pixels, list(settings))[1].tobytes()


def pillow(pixels: np.ndarray, mode: str, *, turned: bool = False) -> bytes:
    """JPEG of a colour space or an EXIF orientation that OpenCV does not write."""
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


class Official:
    """A tiny archive in the official format, to be damaged by tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = {f"ISIC_{i:07d}": encode(picture(i)) for i in range(len(DIAGNOSES))}
        self.truth = dict(zip(self.images, DIAGNOSES, strict=True))
        self.lesions = {image: f"HAM_{i:07d}" for i, image in enumerate(self.images)}
        self.weights = False

    def write(self) -> tuple[Path, Path, Path]:
        archive, truth, meta = (self.folder / n for n in ("i.zip", "truth.csv", "meta.csv"))
        with zipfile.ZipFile(archive, "w") as out:
            for image, data in self.images.items():
                out.writestr(f"in/{image}.jpg", data)
        with truth.open("w", newline="") as stream:
            rows = csv.writer(stream)
            extra = WEIGHT_COLUMNS if self.weights else ()
            rows.writerow([*GROUND_TRUTH_COLUMNS, *extra])
            for image, name in self.truth.items():
                marks = [float(column == name) for column in GROUND_TRUTH_COLUMNS[1:]]
                rows.writerow([image, *marks, *([1.0] * len(extra))])
        with meta.open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(METADATA_COLUMNS)
            for image, lesion in self.lesions.items():
                rows.writerow([image, 55, "head/neck", lesion, "male"])
        return truth, meta, archive

    def build(self, **settings):
        truth, meta, archive = self.write()
        inspected = [inspect_shard(archive, shard, 2) for shard in (1, 0)]
        return build_catalogue(truth, meta, archive, inspected, **settings)


@pytest.fixture
def official(tmp_path: Path) -> Official:
    return Official(tmp_path)


def test_catalogue(official):
    official.lesions["ISIC_0000003"] = official.lesions["ISIC_0000000"]
    official.lesions["ISIC_0000005"] = ""
    catalogue = official.build()
    table = catalogue.table.set_index("image")
    assert list(catalogue.table) == list(COLUMNS)
    assert list(table.index) == sorted(official.images)
    assert table["diagnosis"].to_dict() == official.truth
    assert table.loc["ISIC_0000003", "group"] == "HAM_0000000"
    assert table.loc["ISIC_0000005", ["lesion_id", "group", "source"]].tolist() == [
        "",
        "ISIC_0000005",
        "none",
    ]
    assert table.loc["ISIC_0000000", ["width", "height", "age"]].tolist() == [96, 64, 55.0]
    assert table["bytes"].tolist() == [len(data) for data in official.images.values()]
    assert catalogue.audit.empty
    assert catalogue.quarantine.empty
    assert catalogue.duplicates.empty


def test_written_catalogue_reads_back_equal_and_is_the_same_bytes_in_any_order(official, tmp_path):
    official.lesions["ISIC_0000005"] = ""
    texts = []
    for turn in range(2):
        if turn:
            for name in ("images", "truth", "lesions"):
                setattr(official, name, dict(reversed(getattr(official, name).items())))
        catalogue = official.build()
        paths = {n: tmp_path / f"{n}.csv" for n in ("table", "audit", "quarantine", "duplicates")}
        write_catalogue(catalogue, **paths)
        pd.testing.assert_frame_equal(read_catalogue(paths["table"]), catalogue.table)
        texts.append([path.read_bytes() for path in paths.values()])
    assert texts[0] == texts[1]


def test_shards_may_come_as_files(official, tmp_path):
    truth, meta, archive = official.write()
    tables = [inspect_shard(archive, shard, 20) for shard in range(20)]
    paths = [tmp_path / f"{shard}.csv" for shard in range(20)]
    for path, table in zip(paths, tables, strict=True):
        write_table(path, table)
    found = build_catalogue(truth, meta, archive, paths)
    pd.testing.assert_frame_equal(found.table, build_catalogue(truth, meta, archive, tables).table)
    paths[3].write_text("nonsense\n")
    with pytest.raises(InputError, match=r"3\.csv: not a table of inspected images"):
        build_catalogue(truth, meta, archive, paths)


def test_without_metadata_all_is_missing(official):
    truth, _, archive = official.write()
    table = build_catalogue(truth, None, archive, [inspect_shard(archive, 0, 1)]).table
    assert table["age"].isna().all()
    assert (table[["sex", "site", "lesion_id"]] == "").all(axis=None)
    assert (table["group"] == table["image"]).all()


def test_test_set_carries_unknowns_and_weights(official):
    official.truth["ISIC_0000001"] = "UNK"
    official.weights = True
    table = official.build(kind="test").table
    assert list(table) == [*COLUMNS, *WEIGHT_COLUMNS]
    assert table["diagnosis"].iloc[1] == "UNK"
    assert (table["score_weight"] == 1).all()


def test_lost_images_are_noted(official, caplog):
    del official.images["ISIC_0000002"]
    del official.truth["ISIC_0000004"]
    del official.lesions["ISIC_0000006"]
    catalogue = official.build()
    told = catalogue.audit.set_index("message")["image"].to_dict()
    assert told == {
        "no diagnosis: row ignored": "ISIC_0000004",
        "no metadata: taken as missing": "ISIC_0000006",
        "no row in the ground truth: left out": "ISIC_0000004",
        "no image in the archive: left out": "ISIC_0000002",
        "no image of this class": "",
    }
    left = sorted(set(official.truth) & set(official.images))
    assert catalogue.table["image"].tolist() == left
    assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == [
        "1 image of the archive has no row in the ground truth: left out (ISIC_0000004)",
        "1 row of the ground truth has no image in the archive: left out (ISIC_0000002)",
    ]


def test_images_of_other_kinds_in_the_archive_are_noted(official, caplog):
    truth, meta, archive = official.write()
    with zipfile.ZipFile(archive, "a") as out:
        for name in ("in/x.png", "in/y.PNG", "z.heic", "__MACOSX/in/._x.png", "notes.txt"):
            out.writestr(name, b"")
    catalogue = build_catalogue(truth, meta, archive, [inspect_shard(archive, 0, 1)])
    told = (
        "1 HEIC file passed over, e.g. z.heic; 2 PNG files passed over, e.g. in/x.png: "
        "save them as JPEG"
    )
    assert f"{archive}: {told}" in [record.getMessage() for record in caplog.records]
    (noted,) = catalogue.audit[catalogue.audit["message"] == told].to_dict("records")
    assert (noted["severity"], noted["file"]) == ("warning", "i.zip")
    assert len(catalogue.table) == len(official.images)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("images", r"truth\.csv: 6 images are not in .*i\.zip; is it of another set\?"),
        ("truth", r"i\.zip: 6 images have no row in .*truth\.csv; is it of another set\?"),
        ("lesions", r"meta\.csv: 6 images have a diagnosis but no row here"),
    ],
)
def test_many_lost_images_stop_the_run(official, where, message):
    held = getattr(official, where)
    for image in list(held)[:6]:
        del held[image]
    with pytest.raises(InputError, match=message):
        official.build()


RENAMED = {
    "with suffix": "{}.jpg",
    "with the suffix of another time": "{}.PNG",
    "by path": "in/{}",
    "by path, as Windows has it": "in\\{}.jpg",
}


@pytest.mark.parametrize("where", ["truth", "lesions"])
@pytest.mark.parametrize("how", RENAMED)
def test_tables_name_images_in_the_ways_that_people_do(official, where, how):
    expected = official.build().table
    held = getattr(official, where)
    for image in list(held):
        held[RENAMED[how].format(image)] = held.pop(image)
    found = official.build()
    pd.testing.assert_frame_equal(found.table, expected)
    assert found.audit.empty


def in_two_folders(official):
    """The archive with files of one name in two folders, which the tables name by path."""
    inner = {
        image: f"{'anna' if int(image[-1]) % 2 else 'bert'}/{image[-2:-1]}{int(image[-1]) // 2}"
        for image in official.images
    }
    for name in ("images", "truth", "lesions"):
        held = getattr(official, name)
        setattr(official, name, {inner[image]: value for image, value in held.items()})
    return list(inner.values())


@pytest.mark.parametrize("form", ["{}", "{}.jpg", "in/{}", "./{}", "in\\{}.JPG"])
def test_files_of_one_name_in_two_folders_are_named_by_path(official, form):
    images = in_two_folders(official)
    diagnoses = dict(official.truth)
    for name in ("truth", "lesions"):
        named = {
            form.format(k).replace("/", "\\" if "\\" in form else "/"): v
            for k, v in getattr(official, name).items()
        }
        setattr(official, name, named)
    catalogue = official.build()
    table = catalogue.table.set_index("image")
    assert sorted(table.index) == sorted(images)
    assert table["diagnosis"].to_dict() == diagnoses
    assert table["member"].to_dict() == {image: f"in/{image}.jpg" for image in images}
    assert (table["lesion_id"] != "").all()
    assert catalogue.audit.empty


@pytest.mark.parametrize(("where", "file"), [("truth", "truth.csv"), ("lesions", "meta.csv")])
def test_a_bare_name_that_two_files_have_stops_with_both_paths(official, where, file):
    in_two_folders(official)
    held = getattr(official, where)
    setattr(official, where, {k.removeprefix("bert/"): v for k, v in held.items()})
    with pytest.raises(InputError) as caught:
        official.build()
    told = str(caught.value).splitlines()
    assert told[0].endswith(f"{file}: 6 problems")
    assert told[1].strip() == (
        "row 2, column image: found '00': several images have this name (in/anna/00.jpg, "
        "in/bert/00.jpg); name each by its path, e.g. anna/00"
    )


def test_two_rows_of_one_image_stop(official):
    official.truth["in/ISIC_0000000.jpg"] = "NV"
    with pytest.raises(
        InputError,
        match=r"row 14, column image: found 'in/ISIC_0000000\.jpg': is the image of row 2 "
        r"\(ISIC_0000000\) too; keep one",
    ):
        official.build()


def test_ids_that_look_equal_are_one(official):
    apart, joined = "la\u0308sion", "l\u00e4sion"
    forms = {"images": apart, "truth": joined, "lesions": apart}
    for name, form in forms.items():
        held = getattr(official, name)
        held[form] = held.pop("ISIC_0000000")
    catalogue = official.build()
    assert catalogue.table["image"].tolist()[-1] == joined
    assert catalogue.audit.empty


def test_errors_name_where_a_file_comes_from(official):
    first = next(iter(official.truth))
    official.truth[first] = "XYZ"
    sources = {"ground_truth": "mine/diagnoses.csv", "metadata": str(official.folder / "meta.csv")}
    with pytest.raises(InputError, match=r"truth\.csv \(mine/diagnoses\.csv\): row 2, image"):
        official.build(sources=sources)
    official.truth[first] = "NV"
    official.lesions = dict.fromkeys(official.lesions, "HAM_0000001")
    with pytest.raises(InputError, match=r"meta\.csv: 8 problems"):
        official.build(sources=sources)
    sources["metadata"] = "https://example.org/meta.csv"
    with pytest.raises(
        InputError, match=r"(?s)8 problems.*To fetch again what is wrong, remove .*meta\.csv$"
    ):
        official.build(sources=sources)


def test_archive_of_another_set_stops_the_run(official):
    for i in range(12):
        official.images[f"OTHER_{i}"] = encode(picture(100 + i))
    with pytest.raises(InputError, match=r"i\.zip: 12 images have no row in .* and 2 more"):
        official.build()


def test_lesion_of_two_diagnoses_stops_the_run(official):
    official.lesions["ISIC_0000001"] = official.lesions["ISIC_0000000"]
    with pytest.raises(InputError) as caught:
        official.build()
    assert str(caught.value) == (
        f"{official.folder / 'meta.csv'}: row 3, column lesion_id, image ISIC_0000001: "
        "found 'HAM_0000000': this lesion is MEL here and NV in image ISIC_0000000, row 2; "
        "correct the diagnosis or the lesion"
    )


UNUSABLE = {
    "zero bytes": (b"", "empty file"),
    "text": (b"hello", "not a JPEG: starts b'hell'"),
    "web page": (b"<html>", "a web page, not a JPEG"),
    "png": (encode(picture(0), suffix=".png"), "a PNG image, not a JPEG"),
    "truncated": (encode(picture(0))[:-400], "truncated: no end marker"),
    "headers only": (encode(picture(0))[:200], "truncated or damaged: its headers end"),
    "garbled": (b"\xff\xd8\xff\xe0\x00\x04ab" + b"garbled!" * 9, "damaged: no marker at byte"),
    "nothing to decode": (
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00\xff\xda\x00\x08"
        b"\x01\x01\x00\x00\x3f\x00\xff\xd9",
        "damaged: does not decode whole",
    ),
    "half, closed": (cut_and_closed(encode(picture(0)), 0.5), "damaged: does not decode whole"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_images_go_to_quarantine(official, kind):
    data, message = UNUSABLE[kind]
    official.images["ISIC_0000007"] = data
    catalogue = official.build()
    (entry,) = catalogue.quarantine.to_dict("records")
    assert entry["member"] == "in/ISIC_0000007.jpg"
    assert entry["error"].startswith(message)
    assert "ISIC_0000007" not in set(catalogue.table["image"])
    assert catalogue.audit["image"].tolist() == ["ISIC_0000007"]


def frame_header(bits=8, width=16, height=16, marker=0xC0) -> bytes:
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    header = bytes([0xFF, marker, 0, 11, bits]) + sizes + b"\x01\x01\x11\x00"
    return b"\xff\xd8" + header + b"\xff\xff\xda\x00\x02\x01\xff\xd9"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame_header(bits=12), "12 bits a channel; save it with 8"),
        (frame_header(width=0), "0 x 16 pixels"),
        (frame_header(width=20_000, height=20_000), "20000 x 20000 pixels, more than 100000000"),
        (frame_header(marker=0xC3), "a lossless, hierarchical or arithmetic JPEG"),
        (frame_header()[:8], "the frame header is cut off"),
    ],
)
def test_headers_that_no_photograph_has(data, message):
    with pytest.raises(InputError, match=message):
        jpeg.read_size(data)


def test_ordinary_header_is_read():
    assert jpeg.read_size(frame_header(width=30, height=20)) == (30, 20)


@pytest.mark.parametrize(
    "data",
    [
        encode(picture(0, channels=1)),
        encode(picture(0), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encode(picture(0), cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        encode(picture(0, 1, 1)),
        encode(np.full((40, 40, 3), 128, np.uint8)),
        encode(picture(0)) + b"trailing bytes",
        pillow(picture(0, channels=4), "CMYK"),
        pillow(picture(0), "RGB", turned=True),
    ],
    ids=["grey", "progressive", "restarts", "1x1", "flat", "trailing", "cmyk", "exif"],
)
def test_unusual_but_good_images_are_kept(official, data):
    official.images["ISIC_0000007"] = data
    catalogue = official.build()
    assert catalogue.quarantine.empty
    assert len(catalogue.table) == len(DIAGNOSES)


def test_many_unusable_images_stop_the_run(official):
    for image in list(official.images)[:6]:
        official.images[image] = b"broken"
    with pytest.raises(InputError, match="6 of 12 images cannot be used") as caught:
        official.build()
    assert "in/ISIC_0000000.jpg: not a JPEG: starts b'brok'" in str(caught.value)


def test_member_of_wrong_crc_goes_to_quarantine(official):
    truth, meta, archive = official.write()
    data = archive.read_bytes()
    good = official.images["ISIC_0000004"]
    archive.write_bytes(data.replace(good, good[:-10] + b"\0" * 8 + good[-2:]))
    catalogue = build_catalogue(truth, meta, archive, [inspect_shard(archive, 0, 1)])
    (error,) = catalogue.quarantine["error"]
    assert error.startswith("'in/ISIC_0000004.jpg' is damaged (Bad CRC-32")
    assert str(archive) not in error


def test_shards_of_another_archive_are_refused(official, tmp_path):
    truth, meta, archive = official.write()
    tables = [inspect_shard(archive, shard, 3) for shard in range(3)]
    for wrong in ([], tables[:2], [*tables, tables[0]]):
        with pytest.raises(InputError, match=r"no shard was inspected|is not the archive that"):
            build_catalogue(truth, meta, archive, wrong)
    shutil.copy(archive, tmp_path / "old.zip")
    official.images["ISIC_0000000"] = encode(picture(50))
    official.write()
    with pytest.raises(InputError, match="is not the archive that was inspected"):
        build_catalogue(truth, meta, archive, tables)


def test_no_usable_image_at_all(official):
    official.images = dict.fromkeys(list(official.images)[:5], b"broken")
    official.truth = {image: official.truth[image] for image in official.images}
    official.lesions = dict.fromkeys(official.images, "")
    with pytest.raises(InputError, match="no row has a usable image"):
        official.build()


def copies(official, qualities):
    """The first images become one, saved at several qualities; all nevi."""
    pixels = picture(0, 240, 180)
    names = list(official.images)[: len(qualities)]
    for image, quality in zip(names, qualities, strict=True):
        official.images[image] = encode(pixels, cv2.IMWRITE_JPEG_QUALITY, quality)
        official.truth[image] = "NV"
    return names


def test_the_search_for_near_duplicates_can_be_left_out(official):
    names = copies(official, (95, 90, 85))
    joined = official.build().table.set_index("image")["group"]
    assert joined[names].nunique() == 1
    catalogue = official.build(near_duplicates=False)
    assert catalogue.duplicates.empty
    assert list(catalogue.duplicates) == list(official.build().duplicates)
    assert (catalogue.table["group"] == catalogue.table["lesion_id"]).all()


def test_links_of_a_group_out_of_proportion_are_cut_and_noted(official, monkeypatch, caplog):
    names = copies(official, (95, 90, 85, 80))
    monkeypatch.setattr(duplicates, "LARGEST_GROUP", 2)
    catalogue = official.build()
    groups = catalogue.table.set_index("image")["group"]
    assert groups[names].value_counts().max() == 2
    errors = catalogue.audit[catalogue.audit["severity"] == "error"]
    assert 0 < len(errors) < len(catalogue.duplicates) == 6
    assert set(errors["image"]) <= set(names)
    assert errors["message"].str.contains("would tie more than 2 lesions into one group").all()
    assert "not joined" in caplog.text


def test_near_duplicates_share_a_group_and_label_noise_is_noted(official):
    official.images["ISIC_0000001"] = encode(picture(0)[:, ::-1])
    catalogue = official.build()
    (pair,) = catalogue.duplicates.to_dict("records")
    assert (pair["image_a"], pair["image_b"]) == ("ISIC_0000000", "ISIC_0000001")
    assert not pair["same_diagnosis"]
    assert catalogue.table["group"].iloc[:2].tolist() == ["HAM_0000000"] * 2
    assert "label noise" in catalogue.audit["message"].iloc[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file; the catalogue rule writes it"),
        ("image,age\nA,1\n", "columns lesion_id, group"),
        (",".join(COLUMNS) + "\n" + ",".join("x" for _ in COLUMNS) + "\n", "not a catalogue"),
        ("", "not a catalogue"),
    ],
)
def test_files_that_are_no_catalogue(tmp_path, text, message):
    path = tmp_path / "c.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_catalogue(path)


@pytest.mark.parametrize(("images", "shards"), [(0, 3), (2, 5), (10, 3), (12, 1)])
def test_shards_hold_each_image_once(images, shards):
    names = tuple(str(i) for i in range(images))
    parts = [shard_of(names, shard, shards) for shard in range(shards)]
    assert sum(parts, ()) == names
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for wrong in (-1, shards):
        with pytest.raises(ValueError, match="counted from 0"):
            shard_of(names, wrong, shards)


def test_inspection_tells_its_progress(official, monkeypatch, caplog):
    monkeypatch.setattr("melanoma.inspection._SECONDS_BETWEEN_LINES", -1.0)
    _, _, archive = official.write()
    with caplog.at_level("INFO", logger="melanoma"):
        inspect_shard(archive, 0, 1)
    assert "inspected 5 of 12 images" in caplog.text


def test_drawn_archive(archive_folder):
    for name, kind, images in (("Training", "train", 64), ("Test", "test", 24)):
        stem = archive_folder / f"ISIC_2019_{name}_"
        archive = f"{stem}Input.zip"
        catalogue = build_catalogue(
            f"{stem}GroundTruth.csv",
            f"{stem}Metadata.csv",
            archive,
            [inspect_shard(archive, 0, 1)],
            kind=kind,
        )
        assert len(catalogue.table) == images
        assert catalogue.quarantine.empty
        assert not (catalogue.audit["severity"] == "warning").any()
        across = catalogue.duplicates[~catalogue.duplicates["same_lesion"]]
        assert across.empty, across.to_string()

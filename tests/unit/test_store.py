"""The image store: packed from shards, opened by mapping, refused when a part does not fit."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melanoma import files
from melanoma import store as module
from melanoma.errors import InputError
from melanoma.store import Store, pack, partition

SIZE = 4
IDS = ("ISIC_3", "ISIC_1", "a,b", 'the "second"', "line\nbreak", "ü µ", " spaces ", "", "0", "x_y")
PIXELS = np.random.default_rng(0).integers(0, 256, (len(IDS), SIZE, SIZE, 3), np.uint8)
RECIPE = {"hair_removal": "lines", "framing": "crop", "size": SIZE, "code": "c0de"}
CATALOGUE = pd.DataFrame({"image": IDS, "lesion_id": "L"})
PARTS = (".npy", ".csv", ".json")


def write_shards(folder: Path, count: int, pixels: np.ndarray = PIXELS) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{shard}.npy" for shard in range(count)]
    for shard, path in enumerate(paths):
        rows = partition(len(pixels), shard, count)
        np.save(path, pixels[rows.start : rows.stop])
    return paths


def packed(folder: Path, shards: int = 2) -> Path:
    output = folder / "lines-crop-4.npy"
    pack(write_shards(folder / "shards", shards), CATALOGUE, output, recipe=RECIPE)
    return output


def write_index(path: Path, lines: list[list[object]]) -> None:
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(lines)


@pytest.mark.parametrize("shards", [1, 3, 10, 17])
def test_the_bytes_are_the_same_whatever_the_number_of_shards(tmp_path, shards, monkeypatch):
    expected = [packed(tmp_path / "two", 2).with_suffix(part).read_bytes() for part in PARTS]
    monkeypatch.setattr(module, "_BLOCK", 7)
    output = packed(tmp_path / "other", shards)
    assert [output.with_suffix(part).read_bytes() for part in PARTS] == expected


def test_the_array_is_the_one_that_numpy_would_write(tmp_path):
    np.save(tmp_path / "whole.npy", PIXELS)
    assert packed(tmp_path, 3).read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_an_opened_store_gives_pixels_ids_and_recipe(tmp_path):
    path = packed(tmp_path)
    store = Store.open(str(path))
    assert store.path == path
    assert isinstance(store.pixels, np.memmap)
    assert not store.pixels.flags.writeable
    np.testing.assert_array_equal(store.pixels, PIXELS)
    assert store.images == IDS
    assert store.recipe == {
        "recipe": "lines-crop-4",
        **RECIPE,
        "n": len(IDS),
        "shape": [len(IDS), SIZE, SIZE, 3],
        "dtype": "uint8",
        "sha256": files.sha256_of(path),
        "index_sha256": files.sha256_of(path.with_suffix(".csv")),
        "opencv": module.cv2.__version__,
        "numpy": np.__version__,
    }
    store.verify()


def test_the_index_is_csv_of_which_every_reader_makes_the_same(tmp_path):
    index = packed(tmp_path).with_suffix(".csv")
    start = b'image,row\nISIC_3,0\nISIC_1,1\n"a,b",2\n"the ""second""",3\n"line\nbreak",4\n'
    assert index.read_bytes().startswith(start)
    table = pd.read_csv(index, dtype={"image": str}, keep_default_na=False)
    assert tuple(table["image"]) == IDS


def test_rows_come_in_the_order_asked_for(tmp_path):
    store = Store.open(packed(tmp_path))
    rows = store.rows(["a,b", "ISIC_3", 'the "second"', "a,b", "line\nbreak"])
    assert rows.dtype == np.int64
    assert rows.tolist() == [2, 0, 3, 2, 4]
    assert store.rows(pd.Series(IDS)).tolist() == list(range(len(IDS)))
    assert store.rows([]).shape == (0,)


@pytest.mark.parametrize("image", ["ISIC_2", "isic_1", "spaces", 0])
def test_an_unknown_image_is_named(tmp_path, image):
    path = packed(tmp_path)
    with pytest.raises(InputError, match="are from different catalogues") as caught:
        Store.open(path).rows(["ISIC_1", image])
    assert str(caught.value).startswith(f"{path}: holds no image {image!r}; ")


def test_a_store_without_images_is_one(tmp_path):
    shards = write_shards(tmp_path, 2, PIXELS[:0])
    pack(shards, CATALOGUE.iloc[:0], tmp_path / "s.npy", recipe=RECIPE)
    store = Store.open(tmp_path / "s.npy")
    store.verify()
    assert store.pixels.shape == (0, SIZE, SIZE, 3)
    assert store.images == ()


@pytest.mark.parametrize("part", PARTS)
def test_a_store_that_lacks_a_part_is_refused(tmp_path, part):
    path = packed(tmp_path)
    path.with_suffix(part).unlink()
    with pytest.raises(InputError, match="run rule pack") as caught:
        Store.open(path)
    assert str(caught.value).startswith(f"{path.with_suffix(part)}: no such ")


def test_an_array_cut_short_anywhere_is_refused(tmp_path):
    path = packed(tmp_path)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"\.npy: damaged or cut short .* run rule pack"):
            Store.open(path)


@pytest.mark.filterwarnings("ignore:Reading .*npy")
def test_no_byte_of_an_arrays_header_may_change(tmp_path):
    path = packed(tmp_path)
    whole = path.read_bytes()
    for at in range(128):
        for value in b"\x00 (,}'-9B\xff":
            changed = bytearray(whole)
            changed[at] = value
            if changed == whole:
                continue
            path.write_bytes(changed)
            # One that numpy reads over is found by its sum.
            with pytest.raises(InputError) as caught:
                Store.open(path).verify()
            assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "array",
    [PIXELS[:-1], PIXELS.astype(np.int16), PIXELS[:, :, :2], PIXELS.view(np.int8), np.array(1)],
    ids=["fewer", "wider", "no square", "signed", "scalar"],
)
def test_an_array_that_does_not_fit_its_recipe_is_refused(tmp_path, array):
    path = packed(tmp_path)
    np.save(path, array)
    with pytest.raises(InputError, match=r"\.npy: .* but its recipe says uint8 \[10, 4, 4, 3\]"):
        Store.open(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("npz", "not an array of images"),
        (b"", "damaged or cut short"),
        (b"text", "damaged or cut short"),
        (b"PK\x03\x04 cut short", "damaged or cut short"),
        (b"\x80\x04N.", "damaged or cut short"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, message):
    path = packed(tmp_path)
    if content == "npz":
        np.savez(tmp_path / "a.npz", PIXELS)
        content = (tmp_path / "a.npz").read_bytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"\.npy: {message}"):
        Store.open(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"3",
        b'"text"',
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'["shape", "dtype", "size", "sha256", "index_sha256"]',
    ],
    ids=range(10),
)
def test_a_json_file_that_is_no_recipe_is_refused(tmp_path, content):
    path = packed(tmp_path)
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(InputError, match=r"\.json: not a store's recipe; .* run rule pack"):
        Store.open(path)


@pytest.mark.parametrize("key", ["shape", "dtype", "size", "sha256", "index_sha256"])
def test_a_recipe_that_lacks_a_key_is_refused(tmp_path, key):
    path = packed(tmp_path)
    recipe = files.read_json(path.with_suffix(".json"))
    del recipe[key]
    files.write_json(path.with_suffix(".json"), recipe)
    with pytest.raises(InputError, match=r"\.json: not a store's recipe"):
        Store.open(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [9, 4, 4, 3]),
        ("shape", 10),
        ("shape", None),
        ("dtype", "int8"),
        ("size", 5),
        ("size", "4"),
    ],
)
def test_a_recipe_of_another_array_is_refused(tmp_path, key, value):
    path = packed(tmp_path)
    recipe = files.read_json(path.with_suffix(".json"))
    files.write_json(path.with_suffix(".json"), {**recipe, key: value})
    with pytest.raises(InputError, match=r"\.npy: uint8 \[10, 4, 4, 3\], but its recipe says"):
        Store.open(path)


LINES = [["image", "row"], *([image, row] for row, image in enumerate(IDS))]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "expected the columns image,row"),
        (LINES[1:], "expected the columns image,row"),
        ([["image", "row", "more"], *LINES[1:]], "expected the columns image,row"),
        ([LINES[0], LINES[2], LINES[1], *LINES[3:]], "line 2 is 'ISIC_1,1', expected row 0"),
        ([*LINES[:3], *LINES[4:]], "line 4 is 'the \"second\",3', expected row 2"),
        ([*LINES[:2], ["alone"], *LINES[3:]], "line 3 is 'alone', expected row 1"),
        ([*LINES[:2], [], *LINES[2:]], "line 3 is '', expected row 1"),
        ([*LINES[:2], ["ISIC_1", "1", "2"], *LINES[3:]], "line 3 is 'ISIC_1,1,2'"),
        ([*LINES[:2], ["ISIC_1", "01"], *LINES[3:]], "line 3 is 'ISIC_1,01'"),
        (LINES[:-1], "9 images, but the store has 10"),
        ([*LINES, ["ISIC_9", 10]], "11 images, but the store has 10"),
        (LINES[:1], "0 images, but the store has 10"),
    ],
)
def test_an_index_of_another_store_is_refused(tmp_path, lines, message):
    path = packed(tmp_path)
    write_index(path, lines)
    store = Store.open(path)
    with pytest.raises(InputError) as caught:
        _ = store.images
    assert str(caught.value).startswith(f"{path.with_suffix('.csv')}: {message}")
    assert str(caught.value).endswith(f"remove {path} and run rule pack")
    with pytest.raises(InputError, match=r"\.csv: "):
        store.rows(["ISIC_1"])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"ISIC_1", b"ISIC\xff1"),
        # A quote that opens a field takes in all that follows, and readers have a limit.
        lambda text: text + b'"' + b"ISIC_0000000,1\n" * 10_000,
    ],
    ids=["no UTF-8", "a lone quote"],
)
def test_an_index_that_does_not_read_is_refused(tmp_path, change):
    path = packed(tmp_path)
    index = path.with_suffix(".csv")
    index.write_bytes(change(index.read_bytes()))
    with pytest.raises(InputError, match=r"\.csv: damaged .* run rule pack"):
        _ = Store.open(path).images


def test_opening_reads_no_line_of_the_index(tmp_path):
    path = packed(tmp_path)
    path.with_suffix(".csv").write_bytes(b"\xff")
    assert Store.open(path).pixels.shape == PIXELS.shape


@pytest.mark.parametrize("part", [".npy", ".csv"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_changed_byte_is_noticed(tmp_path, part, place):
    path = packed(tmp_path)
    store = Store.open(path)
    changed = path.with_suffix(part)
    data = bytearray(changed.read_bytes())
    data[int(place * len(data))] ^= 1
    changed.write_bytes(data)
    with pytest.raises(InputError, match="when it was written: changed since") as caught:
        store.verify()
    assert str(caught.value).startswith(f"{changed}: sha256 ")
    assert str(caught.value).endswith(f"remove {path} and run rule pack")


@pytest.mark.parametrize("more", [b"\0", b"more"])
def test_added_bytes_are_noticed(tmp_path, more):
    path = packed(tmp_path)
    with path.open("ab") as stream:
        stream.write(more)
    with pytest.raises(InputError, match=r"\.npy: sha256"):
        Store.open(path).verify()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "no such shard; run rule resize"),
        (cut, r"367 bytes, expected 368; remove it and run again"),
        (lengthen, r"369 bytes, expected 368; remove it and run again"),
        (lambda path: path.write_bytes(b""), "not a shard"),
        (lambda path: path.write_bytes(b"text" * 50), "not a shard"),
        (lambda path: np.save(path, PIXELS[:4]), r"uint8 \[4, 4, 4, 3\], expected .*\[5, 4, 4, 3"),
        (lambda path: np.save(path, PIXELS[:5, :2, :2]), r"uint8 \[5, 2, 2, 3\], expected"),
        (lambda path: np.save(path, PIXELS[:5].view(np.int8)), r"int8 \[5, 4, 4, 3\], expected"),
        (lambda path: np.save(path, np.asfortranarray(PIXELS[:5])), "the number of shards has"),
    ],
)
def test_a_shard_that_does_not_fit_is_refused(tmp_path, damage, message):
    output = packed(tmp_path)
    shards = write_shards(tmp_path / "shards", 2)
    before = output.read_bytes()
    damage(shards[1])
    with pytest.raises(InputError, match=message) as caught:
        pack(shards, CATALOGUE, output, recipe=RECIPE)
    assert str(caught.value).startswith(f"{shards[1]}: ")
    # The old array is whole, but no store: what is beside it may be another's from here on.
    assert output.read_bytes() == before
    assert not output.with_suffix(".json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lines-crop-4.csv",
        "lines-crop-4.npy",
        "shards",
    ]


@pytest.mark.filterwarnings("ignore:Reading .*npy")
def test_a_shards_header_that_changed_is_refused(tmp_path):
    (shard,) = write_shards(tmp_path, 1)
    whole = shard.read_bytes()
    good = tmp_path / "good.npy"
    pack([shard], CATALOGUE, good, recipe=RECIPE)
    for at in range(128):
        for value in b"\x00 (,}'-9B\xff":
            changed = bytearray(whole)
            changed[at] = value
            shard.write_bytes(changed)
            try:
                pack([shard], CATALOGUE, tmp_path / "s.npy", recipe=RECIPE)
            except InputError as error:
                if str(error).startswith(f"{shard}: "):
                    continue
                raise
            # What numpy reads over leaves no trace.
            assert (tmp_path / "s.npy").read_bytes() == good.read_bytes()


@pytest.mark.parametrize("step", ["array", "index", "recipe"])
def test_a_killed_pack_leaves_no_store(tmp_path, monkeypatch, step):
    path = packed(tmp_path)

    def killed(*_, **__):
        raise KeyboardInterrupt

    if step == "array":
        monkeypatch.setattr(module, "_check_shard", killed)
    elif step == "index":
        monkeypatch.setattr(files, "write_text", killed)
    else:
        monkeypatch.setattr(files, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        pack(write_shards(tmp_path / "shards", 2), CATALOGUE, path, recipe=RECIPE)
    with pytest.raises(InputError, match="the image store is not complete"):
        Store.open(path)


@given(count=st.integers(0, 100_000), shards=st.integers(1, 400))
def test_shards_hold_every_row_once_in_order_and_evenly(count, shards):
    parts = [partition(count, shard, shards) for shard in range(shards)]
    assert parts[0].start == 0
    assert parts[-1].stop == count
    assert all(a.stop == b.start for a, b in pairwise(parts))
    lengths = [len(part) for part in parts]
    assert sum(lengths) == count
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("shard", "shards"), [(-1, 3), (3, 3), (0, 0), (0, -2)])
def test_a_shard_that_is_none_is_refused(shard, shards):
    with pytest.raises(ValueError, match=f"shard {shard} of {shards}: counted from 0"):
        partition(10, shard, shards)

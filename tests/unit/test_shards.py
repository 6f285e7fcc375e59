"""The two jobs between the archive and the store, and the file that lies between them."""

import json
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest
from image_examples import encode, hairy, write_zip

from melanoma import shards as module
from melanoma.config import Images
from melanoma.errors import InputError
from melanoma.images import clean, prepare
from melanoma.shards import read_frames, remove_hair_shard, resize_shard

SIZE = 32
SIZES = ((60, 40), (40, 60), (150, 120), (32, 32), (20, 15), (47, 33), (9, 80))
FILES = {f"ISIC_{n}": encode(hairy(n, *size)) for n, size in enumerate(SIZES)}
CATALOGUE = pd.DataFrame({"image": list(FILES), "member": [f"in/{image}.jpg" for image in FILES]})
IMAGES = Images(size=SIZE, hair_removal="none")


@pytest.fixture
def archive(tmp_path):
    members = {f"in/{image}.jpg": data for image, data in FILES.items()}
    return write_zip(tmp_path / "images.zip", {**members, "in/LICENSE.txt": b"text"})


def both_jobs(archive, folder, images, shards):
    """Frames and squares of all shards."""
    squares, frames = [], []
    for shard in range(shards):
        between, output = folder / f"{shard}.frames", folder / f"{shard}.npy"
        remove_hair_shard(archive, CATALOGUE, between, images=images, shard=shard, shards=shards)
        resize_shard(between, output, images=images)
        frames += read_frames(between, size=images.size)
        squares.append(np.load(output, allow_pickle=False))
    return frames, np.concatenate(squares)


@pytest.mark.parametrize("framing", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("hair_removal", ["lines", "dullrazor", "none"])
def test_both_jobs_give_what_prepare_gives_byte_for_byte(archive, tmp_path, hair_removal, framing):
    images = Images(size=SIZE, hair_removal=hair_removal, framing=framing)
    frames, squares = both_jobs(archive, tmp_path, images, 2)
    settings = {"size": SIZE, "hair_removal": hair_removal}
    assert [image for image, _ in frames] == list(FILES)
    for (_, rgb), data in zip(frames, FILES.values(), strict=True):
        np.testing.assert_array_equal(rgb, clean(data, **settings))
    expected = np.stack([prepare(data, framing=framing, **settings) for data in FILES.values()])
    assert squares.dtype == np.uint8
    np.testing.assert_array_equal(squares, expected)


@pytest.mark.parametrize("shards", [1, 3, 7, 10])
def test_any_number_of_shards_gives_the_same_squares(archive, tmp_path, shards):
    _, squares = both_jobs(archive, tmp_path, IMAGES, shards)
    expected = [prepare(d, size=SIZE, framing="crop", hair_removal="none") for d in FILES.values()]
    np.testing.assert_array_equal(squares, np.stack(expected))
    lengths = [len(np.load(tmp_path / f"{shard}.npy")) for shard in range(shards)]
    assert max(lengths) - min(lengths) <= 1


def test_a_shard_without_images_has_the_shape_of_none(archive, tmp_path):
    both_jobs(archive, tmp_path, IMAGES, 10)
    assert np.load(tmp_path / "0.npy").shape == (0, SIZE, SIZE, 3)
    assert list(read_frames(tmp_path / "0.frames", size=SIZE)) == []


@pytest.mark.parametrize("shard", [-1, 2])
def test_a_shard_that_is_none_is_refused(archive, tmp_path, shard):
    with pytest.raises(ValueError, match=r"shard .* of 2: counted from 0"):
        remove_hair_shard(archive, CATALOGUE, tmp_path / "f", images=IMAGES, shard=shard, shards=2)


def test_only_the_rows_of_the_catalogue_are_read_in_their_order(archive, tmp_path):
    part = CATALOGUE.iloc[[4, 1, 2]].set_index(pd.Index([7, 7, 9]))
    path = tmp_path / "f.frames"
    remove_hair_shard(archive, part, path, images=IMAGES, shard=0, shards=1)
    assert [image for image, _ in read_frames(path, size=SIZE)] == ["ISIC_4", "ISIC_1", "ISIC_2"]


def test_opencv_works_on_one_core(archive, tmp_path):
    before = cv2.getNumThreads()
    frames = tmp_path / "f.frames"
    jobs = (
        lambda: remove_hair_shard(archive, CATALOGUE, frames, images=IMAGES, shard=0, shards=1),
        lambda: resize_shard(frames, tmp_path / "s.npy", images=IMAGES),
    )
    try:
        for job in jobs:
            cv2.setNumThreads(2)
            job()
            assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_progress_is_told(archive, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", -1.0)
    with caplog.at_level("INFO", logger="melanoma"):
        both_jobs(archive, tmp_path, IMAGES, 2)
    assert "cleaned 2 of 3 images" in caplog.text
    assert "cleaned 4 images, shard 2 of 2" in caplog.text
    assert "resized 4 images" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (FILES["ISIC_2"][:-2], "truncated: no end marker"),
        (b"\x89PNG", "a PNG image, not a JPEG"),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\x10\0\x10\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9",
         "damaged: does not decode"),
    ],
    ids=["empty", "truncated", "PNG", "no tables"],
)  # fmt: skip
def test_a_member_that_no_longer_decodes_is_named(tmp_path, data, message):
    members = {f"in/{image}.jpg": data for image, data in FILES.items()}
    path = write_zip(tmp_path / "images.zip", {**members, "in/ISIC_2.jpg": data})
    output = tmp_path / "out" / "f.frames"
    with pytest.raises(InputError) as caught:
        remove_hair_shard(path, CATALOGUE, output, images=IMAGES, shard=0, shards=1)
    told = str(caught.value)
    assert told.startswith(f"{path}: 'in/ISIC_2.jpg' (image ISIC_2): {message}")
    assert "Remove the catalogue and run again" in told
    assert list(output.parent.iterdir()) == []


def test_a_member_that_is_missing_or_damaged_is_named(archive, tmp_path):
    def run(catalogue):
        remove_hair_shard(archive, catalogue, tmp_path / "f", images=IMAGES, shard=0, shards=1)

    with pytest.raises(InputError, match=r"images\.zip: holds no member 'in/none\.jpg'"):
        run(CATALOGUE.replace("in/ISIC_3.jpg", "in/none.jpg"))
    good = FILES["ISIC_3"]
    archive.write_bytes(archive.read_bytes().replace(good, good[:-10] + bytes(8) + good[-2:]))
    with pytest.raises(InputError, match=r"images\.zip: 'in/ISIC_3\.jpg' is damaged"):
        run(CATALOGUE)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("old", [None, b"of an earlier run"])
@pytest.mark.parametrize("job", ["clean", "frame"])
def test_a_killed_job_leaves_what_was_there_and_no_half_file(
    archive, tmp_path, monkeypatch, job, old
):
    both_jobs(archive, tmp_path, IMAGES, 1)
    output = tmp_path / "out" / "file.npy"
    output.parent.mkdir()
    if old:
        output.write_bytes(old)
    real, calls = getattr(module, job), []

    def killed_at_the_third(*arguments, **settings):
        calls.append(1)
        if len(calls) == 3:
            # Something is on the disk by then.
            assert len(list(output.parent.iterdir())) == (2 if old else 1)
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    jobs = {
        "clean": lambda: remove_hair_shard(
            archive, CATALOGUE, output, images=IMAGES, shard=0, shards=1
        ),
        "frame": lambda: resize_shard(tmp_path / "0.frames", output, images=IMAGES),
    }
    monkeypatch.setattr(module, job, killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        jobs[job]()
    assert list(output.parent.iterdir()) == ([output] if old else [])
    assert not old or output.read_bytes() == old


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file of two small frames."""
    folder = tmp_path_factory.mktemp("frames")
    members = {f"{name}.jpg": encode(hairy(n, 10, 7)) for n, name in enumerate("AB")}
    path = write_zip(folder / "images.zip", members)
    catalogue = pd.DataFrame({"image": ["A", "B"], "member": list(members)})
    remove_hair_shard(path, catalogue, folder / "f", images=IMAGES, shard=0, shards=1)
    return (folder / "f").read_bytes()


def accepted(path, cases):
    """Of damaged files, those that are read as if they were whole; the others name the file."""
    found = []
    for case, data in cases:
        path.write_bytes(data)
        try:
            list(read_frames(path, size=SIZE))
            found.append(case)
        except InputError as error:
            if not str(error).startswith(f"{path}: ") or "run rule remove_hair" not in str(error):
                found.append(case)
    return found


def test_a_file_cut_short_anywhere_is_refused(tmp_path, whole):
    assert accepted(tmp_path / "f", [("whole", whole)]) == ["whole"]
    assert accepted(tmp_path / "f", ((cut, whole[:cut]) for cut in range(len(whole)))) == []


@pytest.mark.parametrize("bit", [1, 4, 128])
def test_a_flipped_bit_anywhere_is_refused(tmp_path, whole, bit):
    def flipped():
        for at in range(len(whole)):
            data = bytearray(whole)
            data[at] ^= bit
            yield at, bytes(data)

    assert accepted(tmp_path / "f", flipped()) == []


@pytest.mark.parametrize("more", [b"\0", b"\n", b"more bytes after the end\n"])
def test_bytes_after_the_end_are_refused(tmp_path, whole, more):
    (tmp_path / "f").write_bytes(whole + more)
    with pytest.raises(InputError, match="f: its checksum or number of frames is wrong"):
        list(read_frames(tmp_path / "f", size=SIZE))


def test_a_frame_that_is_missing_or_there_twice_is_refused(tmp_path, whole):
    start = whole.index(b'{"image": "A"')
    second = whole.index(b'{"image": "B"')
    end = whole.index(b'{"frames"')
    first = whole[start:second]
    cases = {
        "without the first": whole[:start] + whole[second:],
        "without the last": whole[:second] + whole[end:],
        "twice": whole[:second] + first + whole[second:],
        "other order": whole[:start] + whole[second:end] + first + whole[end:],
    }
    assert accepted(tmp_path / "f", cases.items()) == []


def test_frames_of_another_size_are_refused(tmp_path, whole):
    path = tmp_path / "f"
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"f: starts with .*'size': 32.* for size 64; remove it"):
        resize_shard(path, tmp_path / "s.npy", images=Images(size=64))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none: no such file of frames; run rule remove_hair"):
        resize_shard(tmp_path / "none", tmp_path / "s.npy", images=IMAGES)
    assert list(tmp_path.iterdir()) == []


HEAD = {"format": "melanoma frames 1", "size": SIZE}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short or damaged"),
        (b"\xff\xfe\x00text\n", "cut short or damaged"),
        (b"[1, 2]\n", "cut short or damaged"),
        (b"x" * 20_000 + b"\n", "cut short or damaged"),
        (b"[" * 9000 + b"\n", "cut short or damaged"),
        (b'{"format": "another", "size": 32}\n', "starts with .*another"),
        (b'{"size": 32}\n', "starts with"),
    ],
)
def test_files_of_another_format_are_refused(tmp_path, content, message):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(InputError, match=f"f: {message}"):
        list(read_frames(tmp_path / "f", size=SIZE))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"shape": [1, 1, 3]}, "a frame without id or shape"),
        ({"image": "A"}, "a frame without id or shape"),
        ({"image": "A", "shape": 3}, "a frame without id or shape"),
        ({"image": "A", "shape": [1, 3]}, "a frame without id or shape"),
        ({"image": "A", "shape": [1, 1, "x"]}, "a frame without id or shape"),
        ({"image": "A", "shape": [1, None, 3]}, "a frame without id or shape"),
        ({"image": "A", "shape": [1, float("nan"), 3]}, "a frame without id or shape"),
        ({"image": "A", "shape": [1, float("inf"), 3]}, "a frame without id or shape"),
        ({"image": "A", "shape": [1, 1, 4]}, r"a frame of shape \[1, 1, 4\]"),
        ({"image": "A", "shape": [0, 1, 3]}, r"a frame of shape \[0, 1, 3\]"),
        ({"image": "A", "shape": [-1, -1, 3]}, r"a frame of shape \[-1, -1, 3\]"),
        ({"image": "A", "shape": [10**6, 10**6, 3]}, r"a frame of shape \[1000000"),
        ({"image": "A", "shape": [1, 2, 3]}, "cut short in image A"),
    ],
)
def test_frames_of_impossible_shapes_are_refused(tmp_path, head, message):
    lines = b"".join(json.dumps(value).encode() + b"\n" for value in (HEAD, head))
    (tmp_path / "f").write_bytes(lines + b"abc")
    with pytest.raises(InputError, match=f"f: {message}"):
        list(read_frames(tmp_path / "f", size=SIZE))


def test_a_file_as_documented_is_read(tmp_path):
    before = json.dumps(HEAD).encode() + b'\n{"image": "a,\\"b\\"", "shape": [1, 2, 3]}\nabcdef'
    end = json.dumps({"frames": 1, "crc": zlib.crc32(before)}).encode() + b"\n"
    (tmp_path / "f").write_bytes(before + end)
    ((image, rgb),) = read_frames(tmp_path / "f", size=SIZE)
    assert image == 'a,"b"'
    np.testing.assert_array_equal(rgb, [[[97, 98, 99], [100, 101, 102]]])

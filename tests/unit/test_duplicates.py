import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from melanoma import duplicates
from melanoma.duplicates import (
    PAIR_COLUMNS,
    Thumbnail,
    find_candidates,
    find_duplicates,
    join_groups,
    similarity,
)
from melanoma.errors import InputError
from melanoma.fingerprint import (
    VIEWS,
    best_correlation,
    decode_fingerprints,
    decode_grey,
    fingerprint,
    split_parity,
    thumbnail,
    turn,
    view_correlations,
)
from melanoma.inspection import inspect_shard


def lesion(seed: int, width: int = 360, height: int = 270) -> np.ndarray:
    """A dark spot on bright skin, textured: alike at low frequencies, unlike in detail."""
    generator = np.random.default_rng(seed)
    texture = sum(
        cv2.resize(generator.normal(0, strength, (n, n, 1)).astype(np.float32), (width, height))
        for n, strength in ((8, 12), (24, 12), (40, 6))
    )
    down, across = np.mgrid[:height, :width]
    spread = 2 * (height * generator.uniform(0.15, 0.3)) ** 2
    middle = generator.uniform(0.4, 0.6, 2) * (height, width)
    spot = np.exp(-((down - middle[0]) ** 2 + (across - middle[1]) ** 2) / spread)
    grey = np.clip(200 - 110 * spot + texture, 0, 255)[..., None]
    return (grey * (0.8, 0.85, 1.0)).astype(np.uint8)


def encode(pixels: np.ndarray, quality: int = 95) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels), settings)[1].tobytes()


def square(pixels: np.ndarray) -> np.ndarray:
    cut = (pixels.shape[1] - pixels.shape[0]) // 2
    return pixels[:, cut : cut + pixels.shape[0]]


def shifted(pixels: np.ndarray) -> np.ndarray:
    """The same photograph cut a little off its centre, so that it must be aligned."""
    return pixels[3:, 4:]


CHANGES = {
    "resized": lambda p: encode(cv2.resize(p, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)),
    "quality 60": lambda p: encode(p, 60),
    "cropped": lambda p: encode(square(p)),
    "rotated": lambda p: encode(np.rot90(p)),
    "mirrored": lambda p: encode(p[:, ::-1]),
    "brighter": lambda p: encode(cv2.convertScaleAbs(p, alpha=1.1, beta=12)),
    "all at once": lambda p: encode(
        cv2.resize(np.rot90(square(p))[::-1], (160, 160), interpolation=cv2.INTER_AREA), 60
    ),
    "cut": lambda p: encode(shifted(p)),
}


def make_set(path: Path, images: dict[str, bytes], lesions: dict[str, str] | None = None):
    with zipfile.ZipFile(path, "w") as out:
        for image, data in images.items():
            out.writestr(f"{image}.jpg", data)
    table = inspect_shard(path, 0, 1)
    assert (table["error"] == "").all()
    table["lesion_id"] = [(lesions or {}).get(image, "") for image in table["image"]]
    return table.assign(diagnosis="NV")


@pytest.fixture(scope="module")
def originals():
    return {f"O{seed}": lesion(seed) for seed in range(24)}


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found_and_nothing_else(tmp_path, originals, change):
    images = {image: encode(pixels) for image, pixels in originals.items()}
    copies = {f"P{i}": (f"O{i}", CHANGES[change](originals[f"O{i}"])) for i in range(0, 24, 3)}
    images |= {copy: data for copy, (_, data) in copies.items()}
    table = make_set(tmp_path / "a.zip", images)
    pairs = find_duplicates(table, tmp_path / "a.zip")
    assert list(pairs) == list(PAIR_COLUMNS)
    found = set(zip(pairs["image_a"], pairs["image_b"], strict=True))
    assert found == {(original, copy) for copy, (original, _) in copies.items()}
    assert pairs["similarity"].between(0.6, 1).all()
    assert pairs["same_diagnosis"].all()
    assert not pairs["same_lesion"].any()


def test_across_two_sets(tmp_path, originals):
    first = make_set(tmp_path / "a.zip", {i: encode(p) for i, p in originals.items()})
    others = {f"T{seed}": encode(lesion(seed)) for seed in range(50, 60)}
    others["T99"] = encode(originals["O5"][::-1], 70)
    second = make_set(tmp_path / "b.zip", others).assign(diagnosis="MEL")
    pairs = find_duplicates(first, tmp_path / "a.zip", second, tmp_path / "b.zip")
    (pair,) = pairs.to_dict("records")
    assert (pair["image_a"], pair["image_b"], pair["view"]) == ("O5", "T99", 2)
    assert (pair["diagnosis_a"], pair["diagnosis_b"]) == ("NV", "MEL")
    assert not pair["same_diagnosis"]


def test_pairs_of_one_lesion_are_told_only_if_nearly_the_same_file(tmp_path, originals):
    pixels = originals["O1"]
    images = {"A": encode(pixels), "B": encode(pixels, 60), "C": encode(pixels[20:-40, 50:-10])}
    lesions = dict.fromkeys(images, "L")
    table = make_set(tmp_path / "a.zip", images, lesions)
    pairs = find_duplicates(table, tmp_path / "a.zip")
    assert pairs[["image_a", "image_b", "same_lesion"]].to_numpy().tolist() == [["A", "B", True]]


def test_equal_files_of_one_shade_are_found(tmp_path, originals):
    flat = encode(np.full((80, 80, 3), 120, np.uint8))
    images = {"A": flat, "B": flat, "C": flat, "D": encode(np.full((80, 80, 3), 121, np.uint8))}
    table = make_set(tmp_path / "a.zip", images)
    pairs = find_duplicates(table, tmp_path / "a.zip")
    assert pairs[["image_a", "image_b"]].to_numpy().tolist() == [["A", "B"], ["B", "C"]]
    assert (pairs["similarity"] == 1).all()
    other = make_set(tmp_path / "b.zip", {"E": flat})
    across = find_duplicates(table, tmp_path / "a.zip", other, tmp_path / "b.zip")
    assert across["image_a"].tolist() == ["A", "B", "C"]


def test_blocks_give_what_one_block_gives(tmp_path, originals, monkeypatch, caplog):
    images = {i: encode(p) for i, p in originals.items()}
    images |= {f"P{i}": encode(np.rot90(originals[f"O{i}"])) for i in range(12)}
    table = make_set(tmp_path / "a.zip", images)
    whole = find_candidates(table)
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    monkeypatch.setattr(duplicates, "_REPORT_EVERY", 5)
    pd.testing.assert_frame_equal(find_candidates(table), whole, rtol=1e-5)
    assert {(f"O{i}", f"P{i}") for i in range(12)} <= {
        (table["image"][a], table["image"][b]) for a, b in zip(whole["a"], whole["b"], strict=True)
    }
    with caplog.at_level("INFO", logger="melanoma"):
        find_duplicates(table, tmp_path / "a.zip")
    assert "compared 5 of" in caplog.text


def test_many_copies_of_one_image_end_in_one_group(tmp_path, originals):
    data = encode(originals["O0"])
    again = encode(originals["O0"], 60)
    images = {f"C{i}": data for i in range(40)} | {"D0": again, "D1": again}
    table = make_set(tmp_path / "a.zip", images)
    pairs = find_duplicates(table, tmp_path / "a.zip")
    groups = join_groups(table, pairs)
    assert groups.names.nunique() == 1
    assert groups.cut.empty


def test_weak_candidates_are_limited(monkeypatch):
    generator = np.random.default_rng(0)
    base = generator.normal(size=(16, 16))
    values = base + 0.45 * generator.normal(size=(40, 16, 16))
    levels = np.rint(values * 20).astype(np.int8)
    table = pd.DataFrame(
        {
            "fingerprint": [level.tobytes().hex() for level in levels],
            "crc": [f"{i:08x}" for i in range(40)],
            "bytes": range(40),
        }
    )
    pairs = find_candidates(table)
    assert pairs["correlation"].between(duplicates.CANDIDATE, duplicates.STRONG).all()
    assert len(pairs) <= 2 * 3 * 40
    assert set(pairs["a"]) | set(pairs["b"]) == set(range(40))


def test_image_that_no_longer_decodes(tmp_path, originals):
    data = encode(originals["O0"])
    table = make_set(tmp_path / "a.zip", {"A": data, "B": data})
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for image in ("A", "B"):
            out.writestr(f"{image}.jpg", b"no image any more")
    with pytest.raises(InputError, match="no longer decodes"):
        find_duplicates(table, tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("lesions", "pairs", "expected"),
    [
        (["L1", "L1", "", ""], [], ["L1", "L1", "C", "D"]),
        (["L2", "L1", "", ""], [("A", "B")], ["L1", "L1", "C", "D"]),
        (["", "", "Z", ""], [("A", "B"), ("B", "C")], ["Z", "Z", "Z", "D"]),
        (["", "", "", ""], [("C", "D"), ("B", "D")], ["A", "B", "B", "B"]),
        (["L1", "L2", "L2", "L1"], [("A", "C")], ["L1", "L1", "L1", "L1"]),
    ],
)
def test_groups(lesions, pairs, expected):
    table = pd.DataFrame({"image": list("ABCD"), "lesion_id": lesions}, index=[5, 6, 7, 8])
    table = table.assign(crc=list("0123"), bytes=1)
    for order in (pairs, [(b, a) for a, b in reversed(pairs)]):
        tied = pd.DataFrame(order, columns=["image_a", "image_b"]).assign(similarity=0.8)
        groups = join_groups(table, tied)
        assert groups.names.tolist() == expected
        assert list(groups.names.index) == [5, 6, 7, 8]
        assert groups.cut.empty


def chain(count: int, similarities: dict[int, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Images 0 to count - 1, each tied to the next, by 0.9 unless told otherwise."""
    images = [f"I{i:03d}" for i in range(count)]
    table = pd.DataFrame({"image": images, "lesion_id": "", "crc": images, "bytes": 1})
    pairs = pd.DataFrame({"image_a": images[:-1], "image_b": images[1:]})
    pairs["similarity"] = [similarities.get(i, 0.9) for i in range(count - 1)]
    return table, pairs


@pytest.mark.parametrize(
    ("count", "similarities", "sizes", "cut"),
    [
        # Ten lesions may be tied, eleven may not.
        (10, {}, [10], []),
        (11, {4: 0.7}, [5, 6], [4]),
        (30, {9: 0.7, 19: 0.65}, [10, 10, 10], [19, 9]),
        # A link weaker than the one that would have been too much joins nothing more to its parts.
        (13, {9: 0.75, 11: 0.7}, [1, 2, 10], [11, 9]),
    ],
)
def test_groups_out_of_proportion_are_cut_at_their_weakest_links(count, similarities, sizes, cut):
    table, pairs = chain(count, similarities)
    for order in (pairs, pairs.sample(frac=1, random_state=1)):
        groups = join_groups(table, order)
        assert sorted(groups.names.value_counts()) == sizes
        assert groups.cut["image_a"].tolist() == [f"I{i:03d}" for i in cut]
        assert groups.limit == 10


def test_large_sets_may_have_larger_groups_and_the_same_file_ties_any_number():
    table, pairs = chain(4000, {})
    groups = join_groups(table, pairs.head(19))
    assert (groups.limit, groups.names.value_counts().iloc[0], len(groups.cut)) == (20, 20, 0)
    table, pairs = chain(50, {})
    groups = join_groups(table.assign(crc="same"), pairs)
    assert groups.names.nunique() == 1
    # One file's lesions count as one.
    table["crc"] = ["same"] * 40 + table["crc"].tolist()[40:]
    groups = join_groups(table.head(49), pairs.head(48))
    assert (groups.names.nunique(), len(groups.cut)) == (1, 0)


@pytest.mark.parametrize("view", range(VIEWS))
def test_views_of_fingerprints_are_views_of_pixels(view):
    pixels = thumbnail(cv2.cvtColor(lesion(3), cv2.COLOR_BGR2GRAY), 64)
    turned = turn(pixels, view)
    a, b = decode_fingerprints([fingerprint(turned)]), decode_fingerprints([fingerprint(pixels)])
    by_view = view_correlations(a, b)[0]
    assert by_view.argmax() == view
    assert by_view[view] > 0.999
    best = best_correlation(split_parity(a), split_parity(b), split_parity(b, transposed=True))
    assert best[0, 0] == pytest.approx(by_view.max(), abs=1e-6)


def test_fingerprints_of_one_shade_match_nothing():
    flat = fingerprint(np.full((50, 70), 90, np.uint8))
    assert set(flat) == {"0"}
    vectors = decode_fingerprints([flat, ""])
    assert vectors.shape == (2, 16, 16)
    assert not vectors.any()


def test_decoding_to_grey():
    data = encode(lesion(0, 800, 600))
    assert decode_grey(data, 600).shape == (75, 100)
    assert decode_grey(data, 600, least=96).shape == (150, 200)
    assert decode_grey(data, 600, least=600).shape == (600, 800)
    with pytest.raises(InputError, match="damaged: does not decode"):
        decode_grey(b"nothing", 600)


def test_similarity_of_unrelated_and_of_empty_pictures():
    a, b = (thumbnail(cv2.cvtColor(lesion(s), cv2.COLOR_BGR2GRAY), 96) for s in (1, 2))
    assert similarity(Thumbnail(a), Thumbnail(b)) < 0.4
    assert similarity(Thumbnail(a), Thumbnail(a)) == 1.0
    flat = np.full((96, 96), 7, np.uint8)
    assert similarity(Thumbnail(a), Thumbnail(flat)) == 0.0
    assert similarity(Thumbnail(flat), Thumbnail(flat + 1)) == 0.0

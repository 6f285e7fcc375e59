import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanoma import splits as splitting
from melanoma.errors import InputError
from melanoma.files import write_table
from melanoma.isic import CLASSES
from melanoma.split_audit import audit_splits
from melanoma.splits import COLUMNS, PARTS, assign_splits, check_splits, read_splits

HOLDOUT = {"folds": 1, "val_fraction": 0.15, "test_fraction": 0.15, "seed": 42}
FIVE = {**HOLDOUT, "folds": 5}
SHARES = (0.5, 0.18, 0.13, 0.1, 0.05, 0.02, 0.01, 0.01)


def make_catalogue(lesions: int = 1200, seed: int = 0) -> pd.DataFrame:
    """Lesions of 1 to 12 photographs in skewed classes and three collections, as in the archive."""
    generator = np.random.default_rng(seed)
    rows = []
    for lesion in range(lesions):
        source = generator.choice(["BCN", "HAM", ""], p=[0.4, 0.5, 0.1])
        name = f"{source}_{lesion:07d}" if source else ""
        size = int(min(generator.geometric(0.5), 12)) if source else 1
        diagnosis = generator.choice(CLASSES, p=SHARES)
        rows += [(name, diagnosis) for _ in range(size)]
    table = pd.DataFrame(rows, columns=["lesion_id", "diagnosis"])
    table["image"] = [f"ISIC_{i:07d}" for i in generator.permutation(len(table))]
    return table.astype(str)


def with_fields(table: pd.DataFrame) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    count = len(table)
    return table.assign(
        group=table["lesion_id"].where(table["lesion_id"] != "", table["image"]),
        source=table["lesion_id"].str[:3].where(table["lesion_id"] != "", "none"),
        age=np.where(generator.random(count) < 0.1, np.nan, generator.integers(0, 90, count)),
        sex=generator.choice(["male", "female", ""], count),
        site=generator.choice(["head/neck", ""], count),
        surround=generator.choice([0.0, 0.3], count),
    )


def shares(splits: pd.DataFrame, column: pd.Series) -> pd.DataFrame:
    return column.groupby([splits["fold"], splits["split"]]).value_counts(normalize=True)


@pytest.mark.parametrize("how", [HOLDOUT, FIVE], ids=["holdout", "five folds"])
def test_parts_leak_nothing_and_resemble_the_whole(how):
    catalogue = make_catalogue(4000)
    splits = assign_splits(catalogue, **how)
    check_splits(splits, catalogue)
    assert list(splits) == list(COLUMNS)
    assert len(splits) == how["folds"] * len(catalogue)
    assert splits.equals(splits.sort_values(["fold", "image"], ignore_index=True))
    whole = catalogue["diagnosis"].value_counts(normalize=True)
    found = shares(splits, splits["diagnosis"]).unstack()
    assert (found - whole).abs().max(axis=None) < 0.005
    sources = splits["lesion_id"].str[:3]
    found = shares(splits, sources).unstack()
    assert (found - catalogue["lesion_id"].str[:3].value_counts(normalize=True)).abs().max(
        axis=None
    ) < 0.01
    sizes = splits.groupby(["fold", "split"]).size() / len(catalogue)
    assert sizes.xs("test", level="split").sub(0.15).abs().max() < 0.002
    val = 0.15 if how["folds"] == 1 else 0.85 / 5
    assert sizes.xs("val", level="split").sub(val).abs().max() < 0.003


def test_lesions_of_many_photographs_are_in_every_part():
    catalogue = make_catalogue(4000)
    splits = assign_splits(catalogue, **HOLDOUT)
    size = splits.groupby("lesion_id")["image"].transform("size")
    means = size[splits["lesion_id"] != ""].groupby(splits["split"]).mean()
    assert (means / means["train"] - 1).abs().max() < 0.1


def test_test_part_is_one_whatever_the_folds_and_validation():
    catalogue = make_catalogue()
    settings_ = ({}, {"folds": 5}, {"folds": 3}, {"val_fraction": 0.3})
    tests = []
    for changed in settings_:
        splits = assign_splits(catalogue, **{**HOLDOUT, **changed})
        for _, rows in splits[splits["split"] == "test"].groupby("fold"):
            tests.append(tuple(rows["image"]))
    assert len(set(tests)) == 1
    assert len(tests) == 10


def test_seed_decides_and_nothing_else_does():
    catalogue = make_catalogue()
    splits = assign_splits(catalogue, **FIVE)
    other = catalogue.sample(frac=1, random_state=1).assign(age=3, fingerprint="x")
    pd.testing.assert_frame_equal(assign_splits(other, **FIVE), splits)
    again = assign_splits(catalogue, **{**FIVE, "seed": 43})
    assert (again["split"] != splits["split"]).mean() > 0.1


def test_lots_for_test_and_for_folds_are_drawn_apart(monkeypatch):
    drawn: dict[str, set[str]] = {}
    original = splitting._lot

    def lot(salt, name):
        drawn.setdefault(salt, set()).add(name)
        return original(salt, name)

    monkeypatch.setattr(splitting, "_lot", lot)
    catalogue = few({"NV": 60})
    found = assign_splits(catalogue, **HOLDOUT)
    rest = found.loc[found["split"] != "test", "image"]
    assert sorted(map(len, drawn.values())) == [len(rest), len(catalogue)]


def test_groups_stay_whole_beyond_lesions():
    catalogue = make_catalogue(4000)
    own = catalogue["lesion_id"].where(catalogue["lesion_id"] != "", catalogue["image"])
    names = sorted(own.unique())
    joined = {name: names[i // 2 * 2] for i, name in enumerate(names)}
    catalogue["group"] = own.map(joined)
    splits = assign_splits(catalogue, **HOLDOUT)
    check_splits(splits, catalogue)
    placed = splits.merge(catalogue[["image", "group"]], on="image")
    assert placed.groupby("group")["split"].nunique().max() == 1


def test_missing_lesions_may_be_nan():
    catalogue = make_catalogue()
    blank = catalogue.assign(lesion_id=catalogue["lesion_id"].where(catalogue["lesion_id"] != ""))
    assert blank["lesion_id"].isna().any()
    pd.testing.assert_frame_equal(
        assign_splits(blank, **HOLDOUT), assign_splits(catalogue, **HOLDOUT)
    )


def test_no_test_part():
    catalogue = make_catalogue()
    for folds in (1, 4):
        splits = assign_splits(catalogue, **{**HOLDOUT, "test_fraction": 0.0, "folds": folds})
        check_splits(splits, catalogue)
        assert set(splits["split"]) == {"train", "val"}


def few(groups: dict[str, int]) -> pd.DataFrame:
    names = [name for name, count in groups.items() for _ in range(count)]
    images = [f"I{i}" for i in range(len(names))]
    return pd.DataFrame({"image": images, "lesion_id": "", "diagnosis": names})


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7])
@pytest.mark.parametrize("test_fraction", [0.1, 0.15, 0.5])
def test_rare_classes_are_in_every_part(count, test_fraction):
    catalogue = few({"NV": 60, "DF": count})
    for folds in (1, 5):
        how = {**HOLDOUT, "test_fraction": test_fraction, "folds": folds}
        splits = assign_splits(catalogue, **how)
        check_splits(splits, catalogue)
        rare = splits[splits["diagnosis"] == "DF"].groupby("fold")["split"].agg(set)
        assert all({"train", "test"} <= found for found in rare)
        validated = sum("val" in found for found in rare)
        assert validated >= min(folds, count - 1 if test_fraction < 0.5 else 2)


@pytest.mark.parametrize(
    ("groups", "test_fraction", "message"),
    [
        ({"NV": 60, "DF": 1}, 0.15, "at least 3 lesions.*validation and test: DF has 1;"),
        ({"NV": 60, "DF": 2, "AK": 1}, 0.15, "AK has 1, DF has 2"),
        ({"NV": 60, "DF": 1}, 0.0, "at least 2 lesions.*validation: DF has 1"),
    ],
)
def test_classes_with_too_few_lesions(groups, test_fraction, message):
    with pytest.raises(InputError, match=message):
        assign_splits(few(groups), **{**HOLDOUT, "test_fraction": test_fraction})


@pytest.mark.parametrize("folds", [1, 5])
@pytest.mark.parametrize("test_fraction", [0.0, 0.15])
def test_a_diagnosis_in_mixed_groups_alone_is_not_lost_unseen(folds, test_fraction):
    how = {**HOLDOUT, "folds": folds, "test_fraction": test_fraction}
    catalogue = few({"NV": 60})
    mixed = few({"NV": 2, "DF": 1}).assign(lesion_id="HAM_0000001", image=["X0", "X1", "X2"])
    table = pd.concat([catalogue, mixed], ignore_index=True)
    refused = 0
    for seed in range(20):
        try:
            rare = assign_splits(table, **{**how, "seed": seed}).query("diagnosis == 'DF'")
        except InputError as error:
            assert "but DF has none there" in str(error)  # noqa: PT017
            refused += 1
        else:
            assert set(rare.loc[rare["split"] == "train", "fold"]) == set(range(folds))
    assert folds == 1 or refused == 20
    many = [
        mixed.assign(lesion_id=f"L{i}", image=[f"X{i}-{j}" for j in range(3)]) for i in range(60)
    ]
    table = pd.concat([catalogue, *many], ignore_index=True)
    splits = assign_splits(table, **how)
    assert set(splits.loc[splits["diagnosis"] == "DF", "split"]) == set(splits["split"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"folds": 0}, "splits.folds: 0"),
        ({"test_fraction": 1.0}, "splits.test_fraction: 1.0"),
        ({"test_fraction": -0.1}, "splits.test_fraction"),
        ({"val_fraction": 0.0}, "splits.val_fraction: 0.0"),
        ({"val_fraction": 0.9}, "splits.val_fraction: 0.9"),
    ],
)
def test_settings_that_cannot_be(changed, message):
    with pytest.raises(InputError, match=message):
        assign_splits(make_catalogue(), **{**HOLDOUT, **changed})


def test_empty_and_doubled_catalogues():
    catalogue = make_catalogue()
    with pytest.raises(InputError, match="no image to split"):
        assign_splits(catalogue.iloc[:0], **HOLDOUT)
    with pytest.raises(InputError, match=r"has image ISIC_\d+ twice"):
        assign_splits(pd.concat([catalogue, catalogue.iloc[:1]]), **HOLDOUT)


tables = st.lists(
    st.tuples(st.sampled_from(["", "L1", "L2", "L3", "L4", "L5"]), st.sampled_from(CLASSES)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(
    rows=tables,
    groups=st.lists(st.integers(0, 25), min_size=60, max_size=60),
    folds=st.integers(1, 6),
    test_fraction=st.sampled_from([0.0, 0.15, 0.4]),
    seed=st.integers(0, 2**31 - 1),
)
def test_random_tables_are_split_without_leak_or_refused(rows, groups, folds, test_fraction, seed):
    table = pd.DataFrame(rows, columns=["lesion_id", "diagnosis"], dtype=str)
    table["image"] = [f"I{i:02d}" for i in range(len(table))]
    by_lesion = dict(zip(["L1", "L2", "L3", "L4", "L5"], groups, strict=False))
    table["group"] = [
        f"G{by_lesion.get(lesion, number)}"
        for lesion, number in zip(table["lesion_id"], groups[: len(table)], strict=True)
    ]
    how = {"folds": folds, "val_fraction": 0.2, "test_fraction": test_fraction, "seed": seed}
    try:
        splits = assign_splits(table, **how)
    except InputError as error:
        assert "every diagnosis needs at least" in str(error)  # noqa: PT017
        return
    shuffled = table.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(assign_splits(shuffled, **how), splits)
    placed = splits.merge(table[["image", "group"]], on="image")
    for column in ("lesion_id", "group"):
        named = placed[placed[column] != ""]
        assert (named.groupby(["fold", column])["split"].nunique() <= 1).all()
    counts = splits.groupby("image")["split"].agg(list)
    for found in counts:
        assert len(found) == folds
        assert found == ["test"] * folds or (folds == 1 or found.count("val") == 1)
    assert (splits["split"] == "train").groupby(splits["fold"]).any().all()


def move(splits, image, part, fold=0):
    chosen = (splits["image"] == image) & (splits["fold"] == fold)
    return splits.assign(split=splits["split"].where(~chosen, part))


def torn(splits, catalogue):
    """A lesion with one of its images moved to validation."""
    rows = splits[(splits["split"] == "train") & (splits["fold"] == 0)]
    sizes = rows.groupby("lesion_id").size().drop("", errors="ignore")
    lesion = sizes[sizes > 1].index[0]
    image = rows.loc[rows["lesion_id"] == lesion, "image"].iloc[0]
    return move(splits, image, "val"), rf"lesion {lesion} is in train and val of fold 0"


def torn_group(splits, catalogue):
    single = splits[(splits["lesion_id"] == "") & (splits["fold"] == 0)]
    in_train = single.loc[single["split"] == "train", "image"].iloc[0]
    in_test = single.loc[single["split"] == "test", "image"].iloc[0]
    catalogue.loc[catalogue["image"].isin([in_train, in_test]), "group"] = "G"
    return splits, "group of near-duplicates G is in test and train of fold 0"


def missing_image(splits, catalogue):
    return splits.iloc[1:], r"fold 0 lacks images: ISIC_0000000"


def many_missing(splits, catalogue):
    return splits.iloc[7:], r"fold 0 lacks images: .* and 2 more"


def image_twice(splits, catalogue):
    return pd.concat([splits, splits.iloc[:1]]), "fold 0 has images twice: ISIC_0000000"


def unknown_image(splits, catalogue):
    extra = splits.iloc[:1].assign(image="OTHER", lesion_id="")
    return pd.concat([splits, extra]), "fold 0 has images not in the catalogue: OTHER"


def other_diagnosis(splits, catalogue):
    catalogue.loc[catalogue["image"] == "ISIC_0000003", "diagnosis"] = "XX"
    return splits, "differ in the diagnosis of images: ISIC_0000003"


def fold_gap(splits, catalogue):
    return splits.assign(fold=splits["fold"] + 1), "numbered from 0 without a gap"


def no_validation(splits, catalogue):
    no_val = splits["split"].replace({"val": "train"})
    return splits.assign(split=no_val), "fold 0 has no image in val"


def other_test(splits, catalogue):
    single = splits[(splits["lesion_id"] == "") & (splits["split"] == "test")]
    image = single["image"].iloc[0]
    return move(splits, image, "train", 1), f"test part differs between folds for: {image}"


def never_validated(splits, catalogue):
    single = splits[(splits["lesion_id"] == "") & (splits["split"] == "val")]
    row = single.iloc[0]
    moved = move(splits, row["image"], "train", row["fold"])
    return moved, f"not validated exactly once over the folds: {row['image']}"


@pytest.mark.parametrize(
    "damage",
    [
        torn,
        torn_group,
        missing_image,
        many_missing,
        image_twice,
        unknown_image,
        other_diagnosis,
        fold_gap,
        no_validation,
        other_test,
        never_validated,
    ],
)
def test_check_refuses(damage):
    catalogue = with_fields(make_catalogue(300))
    catalogue = catalogue[catalogue["diagnosis"].isin(["NV", "MEL", "BCC"])].copy()
    catalogue["image"] = [f"ISIC_{i:07d}" for i in range(len(catalogue))]
    catalogue["group"] = catalogue["lesion_id"].where(
        catalogue["lesion_id"] != "", catalogue["image"]
    )
    splits = assign_splits(catalogue, **{**HOLDOUT, "folds": 2})
    check_splits(splits, catalogue)
    damaged, message = damage(splits, catalogue)
    with pytest.raises(InputError, match=message):
        check_splits(damaged, catalogue)


def test_check_refuses_empty_splits():
    splits = assign_splits(make_catalogue(), **HOLDOUT)
    with pytest.raises(InputError, match="folds"):
        check_splits(splits.iloc[:0], make_catalogue())


def test_written_splits_read_back(tmp_path):
    splits = assign_splits(make_catalogue(), **FIVE)
    write_table(tmp_path / "s.csv", splits)
    pd.testing.assert_frame_equal(read_splits(tmp_path / "s.csv"), splits)
    own = splits.sample(frac=1, random_state=0)[[*reversed(COLUMNS)]].assign(note="mine")
    own.to_csv(tmp_path / "own.csv", index=False, lineterminator="\r\n")
    pd.testing.assert_frame_equal(read_splits(tmp_path / "own.csv"), splits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "not a table of splits"),
        ("image,fold,split\n", "row 1: column lesion_id, diagnosis missing"),
        (
            "image,lesion_id,diagnosis,fold,split\nA,,NV,0,train\nB,,NV,x,val\n",
            "row 3, column fold: found 'x'; folds are numbered from 0",
        ),
        (
            "image,lesion_id,diagnosis,fold,split\nA,,NV,0,learn\n",
            "row 2, column split: found 'learn'; one of train, val, test",
        ),
    ],
)
def test_files_that_are_no_splits(tmp_path, text, message):
    path = tmp_path / "s.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_splits(path)


def test_audit():
    catalogue = with_fields(make_catalogue(2000))
    splits = assign_splits(catalogue, **{**HOLDOUT, "folds": 2})
    audit = audit_splits(splits, catalogue)
    assert set(audit["fold"]) == {0, 1}
    first = audit[audit["fold"] == 0].set_index(["quantity", "value"])
    counts = splits[splits["fold"] == 0]["split"].value_counts()
    assert [int(first.loc[("images", ""), part]) for part in PARTS] == [counts[p] for p in PARTS]
    assert int(first.loc[("images", ""), "all"]) == len(catalogue)
    lesions = catalogue["lesion_id"].nunique() - 1
    assert int(first.loc[("lesions", ""), "all"]) == lesions
    nameless = [int(n) for n in first.loc[("images without a lesion id", ""), [*PARTS, "all"]]]
    assert sum(nameless[:-1]) == nameless[-1] == (catalogue["lesion_id"] == "").sum() > 0
    # Nothing ties two lesions here.
    assert int(first.loc[("groups", ""), "all"]) == lesions + nameless[-1]
    nv = float(first.loc[("share of diagnosis", "NV"), "all"])
    assert nv == pytest.approx((catalogue["diagnosis"] == "NV").mean(), abs=1e-6)
    dark = float(first.loc[("share of images", "with a surround"), "all"])
    assert dark == pytest.approx((catalogue["surround"] > 0).mean(), abs=1e-6)
    for quantity in ("diagnosis", "source", "sex", "age"):
        parts = first.loc[f"share of {quantity}"]
        sums = parts[["train", "val", "test", "all"]].apply(pd.to_numeric, errors="coerce").sum()
        assert sums.to_numpy() == pytest.approx(1, abs=1e-4)
    missing = float(first.loc[("share of missing", "age"), "all"])
    assert missing == pytest.approx(catalogue["age"].isna().mean(), abs=1e-6)
    for quantity in ("lesions", "groups"):
        assert (
            first.loc[(f"{quantity} shared with train", ""), ["val", "test"]].tolist() == ["0"] * 2
        )
    leak = first.loc["share of images whose lesion is in train"]
    assert leak.loc["as split", ["train", "val", "test"]].tolist() == ["", "0.000000", "0.000000"]
    assert 0.2 < float(leak.loc["image by image", "test"]) < 0.9


def test_audit_sees_a_leak():
    catalogue = with_fields(make_catalogue(300))
    splits = assign_splits(catalogue, **HOLDOUT)
    damaged, _ = torn(splits, catalogue)
    audit = audit_splits(damaged, catalogue).set_index(["quantity", "value"])
    assert audit.loc[("lesions shared with train", ""), "val"] == "1"
    assert audit.loc[("groups shared with train", ""), "val"] == "1"
    assert float(audit.loc[("share of images whose lesion is in train", "as split"), "val"]) > 0


def test_audit_without_a_test_part():
    catalogue = with_fields(make_catalogue(300))
    splits = assign_splits(catalogue, **{**HOLDOUT, "test_fraction": 0.0})
    audit = audit_splits(splits, catalogue)
    assert (audit["test"] == "").all()

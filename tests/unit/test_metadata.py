import numpy as np
import pandas as pd
import pytest

from melanoma import isic
from melanoma.errors import InputError
from melanoma.metadata import MetadataEncoder

TABLE = pd.DataFrame(
    {
        "image": ["a", "b", "c", "d"],
        "age": [30.0, np.nan, 50.0, 70.0],
        "sex": ["female", "male", "", "male"],
        "site": ["head/neck", "", "anterior torso", "upper extremity"],
    }
)
ALL = ("age", "sex", "site")


def test_layout_of_all_fields():
    encoder = MetadataEncoder.fit(TABLE, ALL)
    assert encoder.width == 2 + 3 + 9
    assert encoder.field_slices == {"age": slice(0, 2), "sex": slice(2, 5), "site": slice(5, 14)}
    vectors = encoder.encode(TABLE)
    assert vectors.shape == (4, 14)
    assert vectors.dtype == np.float32


def test_age_is_imputed_by_the_median_standardised_and_flagged():
    encoder = MetadataEncoder.fit(TABLE.assign(age=[30.0, np.nan, 40.0, 80.0]), ["age"])
    assert (encoder.age_median, encoder.age_mean) == (40.0, 50.0)
    ages = encoder.encode(pd.DataFrame({"age": [50.0, np.nan]}))
    expected = (40.0 - 50.0) / np.std([30, 40, 80])
    np.testing.assert_allclose(ages, [[0.0, 0.0], [expected, 1.0]], rtol=1e-6)


def test_fields_that_are_known_are_counted_as_the_model_sees_them():
    seen = TABLE.assign(site=["head/neck", "", "anterior torso", "head/neck"])
    encoder = MetadataEncoder.fit(seen, ALL)
    rows = pd.DataFrame(
        {
            "age": [40.0, np.nan, np.nan, np.nan],
            "sex": ["male", "female", "", ""],
            # No fitted row had the last: it is encoded as missing.
            "site": ["head/neck", "", "", "palms/soles"],
        }
    )
    assert encoder.known_fields(encoder.encode(rows)).tolist() == [3, 1, 0, 0]


def test_categories_are_one_hot_with_a_missing_flag():
    encoder = MetadataEncoder.fit(TABLE, ["sex", "site"])
    vectors = encoder.encode(TABLE)
    np.testing.assert_array_equal(vectors[:, :3], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])
    sites = vectors[:, 3:]
    assert sites[0, isic.SITES.index("head/neck")] == 1
    assert sites[1, -1] == 1
    np.testing.assert_array_equal(sites.sum(axis=1), 1)


def test_only_training_rows_decide():
    encoder = MetadataEncoder.fit(TABLE, ALL)
    other = TABLE.assign(age=[90.0, 91.0, 92.0, np.nan])
    np.testing.assert_array_equal(
        encoder.encode(other)[3], encoder.encode(TABLE.assign(age=np.nan))[3]
    )


def test_missing_row_is_what_a_patient_without_metadata_gets():
    encoder = MetadataEncoder.fit(TABLE, ["site", "age"])
    blank = pd.DataFrame({"age": [np.nan], "sex": [None], "site": [None]})
    np.testing.assert_array_equal(encoder.missing_row, encoder.encode(blank)[0])
    assert encoder.missing_row[-1] == 1


def test_what_training_never_saw_is_encoded_as_missing():
    encoder = MetadataEncoder.fit(TABLE.assign(age=np.nan), ALL)
    rows = pd.DataFrame({"age": 55.0, "sex": "male", "site": ["head/neck", "palms/soles", ""]})
    found = encoder.encode(rows)
    np.testing.assert_array_equal(found[:, :2], [[0, 1]] * 3)
    np.testing.assert_array_equal(found[1], found[2])
    assert found[0, 5 + isic.SITES.index("head/neck")] == 1
    assert encoder.ignored(rows) == ["age", "site 'palms/soles'"]
    assert encoder.ignored(rows.assign(age=np.nan, site="")) == []


def test_nothing_seen_in_training_is_encoded_otherwise():
    encoder = MetadataEncoder.fit(TABLE, ALL)
    assert encoder.ignored(TABLE) == []
    np.testing.assert_array_equal(encoder.encode(TABLE)[:, [1, 4, 13]].sum(axis=0), [1, 1, 1])


@pytest.mark.parametrize("name", ALL)
def test_gaps_that_training_had_none_of_are_named(name):
    whole = TABLE.assign(age=[30.0, 40.0, 50.0, 70.0], sex="male", site="head/neck")
    encoder = MetadataEncoder.fit(whole, ALL)
    gap = whole.assign(**{name: np.nan if name == "age" else ""})
    assert encoder.unlearnt_gaps(whole) == []
    assert encoder.unlearnt_gaps(gap) == [name]
    assert MetadataEncoder.fit(TABLE, ALL).unlearnt_gaps(gap) == []


def test_ages_that_differ_by_rounding_alone_teach_nothing():
    equal = pd.DataFrame({"age": [0.1, 0.1, 0.1, np.nan]})
    assert 0 < np.std(equal["age"][:3].to_numpy()) < 1e-16
    encoder = MetadataEncoder.fit(equal, ["age"])
    assert encoder.age_deviation == 1.0
    assert np.abs(encoder.encode(pd.DataFrame({"age": [0.1, 60.0, np.nan]}))).max() <= 1
    # All rows are encoded alike, in training too: a gap is nothing new.
    encoder = MetadataEncoder.fit(equal[:3], ["age"])
    assert encoder.unlearnt_gaps(equal) == []


def test_encoders_of_before_this_was_noted():
    values = MetadataEncoder.fit(TABLE, ALL).to_dict()
    del values["unseen"]
    every = TABLE.assign(site=isic.SITES[:4])
    old = MetadataEncoder.from_dict(values)
    np.testing.assert_array_equal(old.encode(every)[:, 5:9], np.eye(4))
    values = MetadataEncoder.fit(TABLE.assign(age=np.nan), ALL).to_dict()
    del values["unseen"]
    old = MetadataEncoder.from_dict(values)
    np.testing.assert_array_equal(old.encode(TABLE)[:, :2], [[0, 1]] * 4)


def test_round_trip_through_plain_values():
    encoder = MetadataEncoder.fit(TABLE, ALL)
    again = MetadataEncoder.from_dict(encoder.to_dict())
    assert again == encoder
    np.testing.assert_array_equal(again.encode(TABLE), encoder.encode(TABLE))


@pytest.mark.parametrize("ages", [[np.nan] * 4, [45.0] * 4])
def test_ages_without_spread_stay_finite(ages):
    encoder = MetadataEncoder.fit(TABLE.assign(age=ages), ["age"])
    assert np.isfinite(encoder.encode(TABLE)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sex": ["female", "other", "", ""]}, "sex 'other' .image b. is no known category"),
        ({"site": ["elbow", "", "", ""]}, "site 'elbow' .image a.*head/neck"),
        ({"age": ["30", "forty", "", ""]}, "age.*forty"),
        ({"age": [np.inf, 1.0, 1.0, 1.0]}, "infinite"),
    ],
)
def test_bad_values_are_named(change, message):
    encoder = MetadataEncoder.fit(TABLE, ALL)
    with pytest.raises(InputError, match=message):
        encoder.encode(TABLE.assign(**change))


def test_bad_fields_columns_and_dictionaries():
    with pytest.raises(InputError, match="weight"):
        MetadataEncoder.fit(TABLE, ["weight"])
    with pytest.raises(InputError, match="no column 'age'"):
        MetadataEncoder.fit(TABLE[["sex"]], ["age"])
    with pytest.raises(InputError, match="age_mean"):
        MetadataEncoder.from_dict({"fields": ["age"], "age_median": 1.0})

"""Metadata as published tables write them, read alike for training and for `melanoma predict`."""

import math

import pandas as pd
import pytest

from melanoma import inference_input, isic, official
from melanoma.errors import InputError
from melanoma.tables import Problems
from melanoma.vocabulary import SITE_COLUMNS, is_missing, number_of, sex_of, site_of

HAM10000 = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
ISIC_2020 = (
    "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
    "benign_malignant,target\n"
)
ARCHIVE = "isic_id,age_approx,anatom_site_1,anatom_site_2,anatom_site_special,lesion_id,sex\n"


def predict(path):
    return inference_input.read_metadata(path)


def train(path, kind="train"):
    return official.read_metadata(path, kind=kind, problems=Problems())


def fields(table: pd.DataFrame) -> list[tuple]:
    ages = [None if math.isnan(age) else age for age in table["age"]]
    return list(zip(table["image"], ages, table["sex"], table["site"], strict=True))


PUBLISHED = {
    "HAM10000": (
        HAM10000
        + "HAM_1,ISIC_1,nv,histo,80.0,male,scalp\n"
        + "HAM_2,ISIC_2,nv,histo,,unknown,back\n"
        + "HAM_3,ISIC_3,nv,histo,0.0,female,trunk\n"
        + "HAM_4,ISIC_4,nv,histo,45.0,female,unknown\n",
        [
            ("ISIC_1", 80.0, "male", "head/neck"),
            ("ISIC_2", None, "", "posterior torso"),
            ("ISIC_3", 0.0, "female", ""),
            ("ISIC_4", 45.0, "female", ""),
        ],
    ),
    "ISIC 2017": (
        "image_id,age_approximate,sex\nISIC_1,unknown,female\nISIC_2,30,unknown\n",
        [("ISIC_1", None, "female", ""), ("ISIC_2", 30.0, "", "")],
    ),
    "ISIC 2020": (
        ISIC_2020
        + "ISIC_1,IP_1,male,45.0,head/neck,unknown,benign,0\n"
        + "ISIC_2,IP_1,female,NA,torso,unknown,benign,0\n",
        [("ISIC_1", 45.0, "male", "head/neck"), ("ISIC_2", None, "female", "")],
    ),
    "ISIC archive": (
        ARCHIVE
        + "ISIC_1,60,Trunk,Posterior trunk,,IL_1,female\n"
        + "ISIC_2,60,Upper extremity,,,IL_2,male\n"
        + "ISIC_3,60,Lower extremity,,acral palms or soles,IL_3,male\n"
        + "ISIC_4,60,Head and neck,Face,,IL_4,male\n"
        + "ISIC_5,60,Trunk,,,IL_5,male\n",
        [
            ("ISIC_1", 60.0, "female", "posterior torso"),
            ("ISIC_2", 60.0, "male", "upper extremity"),
            ("ISIC_3", 60.0, "male", "palms/soles"),
            ("ISIC_4", 60.0, "male", "head/neck"),
            ("ISIC_5", 60.0, "male", ""),
        ],
    ),
    "MILK10k": (
        "lesion_id,image_type,isic_id,age_approx,sex,skin_tone_class,site\n"
        "IL_1,dermoscopic,ISIC_1,70,male,3,head_neck_face\n"
        "IL_2,dermoscopic,ISIC_2,70,male,3,lower_extremity\n",
        [("ISIC_1", 70.0, "male", "head/neck"), ("ISIC_2", 70.0, "male", "lower extremity")],
    ),
    "PAD-UFES-20": (
        "patient_id,lesion_id,smoke,age,gender,region,img_id\n"
        "PAT_1,1,,8,,ARM,PAT_1_1_1.png\n"
        "PAT_2,2,False,55,FEMALE,NECK,PAT_2_2_2.png\n",
        [
            ("PAT_1_1_1.png", 8.0, "", "upper extremity"),
            ("PAT_2_2_2.png", 55.0, "female", "head/neck"),
        ],
    ),
    "by hand": (
        "Image;Age;Gender;Anatom Site General;Lesion-ID\n"
        "a;45,5;Male;Head/Neck;L1\nb;45.0;f;HEAD AND NECK;\nc;unknown;NaN;?;N/A\n",
        [
            ("a", 45.5, "male", "head/neck"),
            ("b", 45.0, "female", "head/neck"),
            ("c", None, "", ""),
        ],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_are_read(tmp_path, name):
    text, expected = PUBLISHED[name]
    path = tmp_path / "m.csv"
    path.write_text(text)
    assert fields(predict(path)) == expected
    lacks = {"ISIC 2017": "anatom_site_general", "ISIC 2020": "lesion_id"}
    if name not in lacks:
        assert fields(train(path)) == expected
    else:
        with pytest.raises(InputError, match=rf"m\.csv: row 1: column .*{lacks[name]}.* missing"):
            train(path)


def test_lesions_are_kept_for_training(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(PUBLISHED["HAM10000"][0])
    assert train(path)["lesion_id"].tolist() == ["HAM_1", "HAM_2", "HAM_3", "HAM_4"]


def test_places_that_may_be_several_sites_never_stop_a_run(tmp_path, caplog):
    path = tmp_path / "m.csv"
    rows = [f"ISIC_{n},IP,male,45,{'torso' if n else 'Head/Neck'},,,0\n" for n in range(20)]
    path.write_text(ISIC_2020 + "".join(rows))
    assert predict(path)["site"].tolist() == ["head/neck", *[""] * 19]
    assert (
        "anatom_site_general_challenge: 19 values that may be several of the eight sites, "
        "e.g. 'torso' in row 3: taken as missing"
    ) in caplog.text
    problems = Problems()
    official.read_metadata(path, kind="test", problems=problems)
    notes = problems.audit().query("severity == 'warning'")
    assert notes["row"].tolist() == [str(row) for row in range(3, 22)]
    assert set(notes["value"]) == {"torso"}


TWO_COLUMNS = {
    "filled from the other": ("age,age_approx", [(",45", 45.0), ("50,", 50.0)], ""),
    "an exact and a rounded age": ("age,age_approx", [("47,45", 45.0), ("45,45.0", 45.0)], ""),
    "one unknown": ("age,age_approx", [("unknown,45", 45.0), ("abc,45", 45.0)], ""),
    "ages that contradict": (
        "age,age_approx",
        [("30,65", None), ("65,65", 65.0)],
        "row 2: age_approx says '65' and age '30'",
    ),
    "sexes that contradict": (
        "sex,gender",
        [("male,F", ""), ("Male,M", "male"), (",FEMALE", "female")],
        "row 2: sex says 'male' and gender 'F'",
    ),
    "sites that agree or contradict": (
        "site,localization",
        [("head/neck,ear", "head/neck"), ("trunk,back", "posterior torso"), ("back,chest", "")],
        "row 4: site says 'back' and localization 'chest'",
    ),
    "a detail contradicts nothing": (
        "anatom_site_general,anatom_site_special",
        [("lower extremity,palms/soles", "lower extremity"), (",palms/soles", "palms/soles")],
        "",
    ),
    "one of one name is empty": ("age,Age", [(",45", 45.0), ("45,45", 45.0)], ""),
}


@pytest.mark.parametrize("name", TWO_COLUMNS)
def test_two_columns_of_one_meaning(tmp_path, caplog, name):
    columns, rows, told = TWO_COLUMNS[name]
    path = tmp_path / "m.csv"
    lines = [f"i{number},{cells}" for number, (cells, _) in enumerate(rows)]
    path.write_text("\n".join([f"image,{columns}", *lines]))
    field = {"age": "age", "sex": "sex"}.get(columns[:3], "site")
    found = predict(path)[field].tolist()
    assert [None if value != value else value for value in found] == [value for _, value in rows]  # noqa: PLR0124
    assert ("taken as missing" in caplog.text) == bool(told)
    assert told in caplog.text


def test_two_columns_that_contradict_in_most_rows_stop(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("image,age,age_approx\n" + "".join(f"i{n},{20 + n},80\n" for n in range(9)))
    with pytest.raises(
        InputError, match=r"row 2, column age: age_approx says '80' and age '20', i"
    ):
        predict(path)


def test_another_columns_odd_values_are_no_loss(tmp_path, caplog):
    path = tmp_path / "m.csv"
    rows = "".join(f"i{n},back,Vienna\n" for n in range(9))
    path.write_text("image,anatom_site_general,site\n" + rows)
    assert predict(path)["site"].tolist() == ["posterior torso"] * 9
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("45", 45.0), ("45.0", 45.0), ("45,0", 45.0), ("45,5", 45.5), (" 45 ", 45.0)),
        *(("0,125", 0.125), ("1e1", 10.0), (".5", 0.5), ("-5", -5.0), ("0,0000001", 1e-7)),
        *(("1,000", None), ("1,000,5", None), ("nan", None), ("inf", None), ("1e999", None)),
        *(("", None), ("4 5", None), ("0x10", None), ("1_0", None), ("٤٥", None)),
    ],
)
def test_numbers(text, number):
    assert number_of(text) == number


@pytest.mark.parametrize(
    ("site", "words"),
    {
        "anterior torso": "abdomen;CHEST;anterior trunk;Anterior_Torso",
        "head/neck": "face;ear;neck;scalp;nose;head_neck;Head & Neck;head and neck;HEAD/NECK",
        "lateral torso": "Lateral Torso;lateral trunk",
        "lower extremity": "foot;thigh;lower_extremity",
        "oral/genital": "genital;oral or genital;Oral/Genital",
        "palms/soles": "acral;palms or soles;acral palms or soles;Palms/Soles",
        "posterior torso": "back;posterior trunk;Posterior-Torso",
        "upper extremity": "hand;arm;forearm;Upper Extremity",
        None: "trunk;torso;lip;unknown;moon;",
    }.items(),
)
def test_words_for_sites(site, words):
    assert {word: site_of(word) for word in words.split(";")} == dict.fromkeys(
        words.split(";"), site
    )


def test_the_official_words_mean_themselves():
    assert [site_of(site) for site in isic.SITES] == list(isic.SITES)
    assert [sex_of(sex) for sex in isic.SEXES] == list(isic.SEXES)
    assert SITE_COLUMNS[0] in isic.METADATA_COLUMNS


@pytest.mark.parametrize(
    ("text", "missing"), [("", True), (" NaN ", True), ("N/A", True), ("no", False), ("0", False)]
)
def test_ways_of_writing_nothing(text, missing):
    assert is_missing(text) == missing

import pytest

from melanoma.catalogue import AUDIT_COLUMNS
from melanoma.errors import InputError
from melanoma.isic import CLASSES, GROUND_TRUTH_COLUMNS, METADATA_COLUMNS
from melanoma.official import read_ground_truth, read_metadata
from melanoma.tables import Problems, read_table, too_many

HEADER = ",".join(GROUND_TRUTH_COLUMNS)
META = ",".join(METADATA_COLUMNS)


def truth_line(image: str, diagnosis: str = "NV") -> str:
    marks = ["1.0" if name == diagnosis else "0.0" for name in GROUND_TRUTH_COLUMNS[1:]]
    return ",".join([image, *marks])


def save(path, lines, end="\r\n"):
    path.write_bytes((end.join(lines) + end).encode())
    return path


def read(path, columns=("image", "x"), **settings):
    problems = Problems()
    return read_table(path, required=columns, problems=problems, **settings), problems


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"image,x\r\nA,1\r\nB,2\r\n", [2, 3]),
        (b"image,x\nA,1\nB,2", [2, 3]),
        (b"\xef\xbb\xbfimage,x\nA,1\nB,2\n", [2, 3]),
        (b" image , x \n A , 1 \nB,2\n", [2, 3]),
        (b"x,image\n1,A\n2,B\n", [2, 3]),
        (b"image,x\n\nA,1\n\n\nB,2\n\n", [3, 6]),
        (b'image,x\n"A",1\n"B","2"\n', [2, 3]),
        (b"image,x\rA,1\rB,2\r", [2, 3]),
        (b"image;x\nA;1\nB;2\n", [2, 3]),
        (b"image\tx\nA\t1\nB\t2\n", [2, 3]),
        (b"image|x\nA|1\nB|2\n", [2, 3]),
        (b"sep=,\r\nimage,x\r\nA,1\r\nB,2\r\n", [3, 4]),
        (b"sep=;\r\nimage;x\r\nA;1\r\nB;2\r\n", [3, 4]),
        (b'"sep=;"\nimage;x\nA;1\nB;2\n', [3, 4]),
        ("image\tx\r\nA\t1\r\nB\t2\r\n".encode("utf-16"), [2, 3]),
        ("image,x\nA,1\nB,2\n".encode("utf-16-le"), [2, 3]),
        ("image,x\nA,1\nB,2\n".encode("utf-16-be"), [2, 3]),
        (b"image,x,,\nA,1,,\nB,2,,\n", [2, 3]),
        (b"image,x\nA,1,,\nB,2,,,,\n", [2, 3]),
        (b"image,x,,\nA,1\nB,2\n", [2, 3]),
        (b"image,x\nA,1\n,\nB,2\n,\n,,,\n", [2, 4]),
        (b",,\nimage,x\n   \nA,1\n\t\nB,2\n", [4, 6]),
        (b"Image,X\nA,1\nB,2\n", [2, 3]),
        (b"image,x,X\nA,1,1\nB,,2\n", [2, 3]),
        (b'image;x;"a, b, c"\nA;1;\nB;2;\n', [2, 3]),
    ],
    ids=[
        *("crlf", "lf", "bom", "spaces", "reordered", "blank lines", "quotes", "cr"),
        *("semicolons", "tabs", "bars", "sep=,", "sep=;", "sep= in quotes"),
        *("unicode text of Excel", "utf-16 without a mark", "utf-16 big-endian without a mark"),
        *("empty columns", "empty cells behind", "empty columns of the header alone"),
        *("rows of commas", "blanks everywhere", "capitals", "a column twice that agrees"),
        "commas in a name between semicolons",
    ],
)
def test_spellings_of_one_table(tmp_path, content, rows):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    table, problems = read(path)
    assert table.to_dict("list") == {"image": ["A", "B"], "x": ["1", "2"]}
    assert list(table.index) == rows
    assert [note["message"] for note in problems.notes] in ([], ["column ignored"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty; expected the columns image,x"),
        (b"image,x\n", r"no row below the header"),
        (b"sep=;\n", r"empty; expected the columns image,x"),
        (b",,\n\n , \n", r"empty; expected the columns image,x"),
        (b"<html><body>log in</body></html>", r"a web page, not a table"),
        (b"image,y\nA,1\n", r"row 1: column x missing among image, y"),
        (b"image;y\nA;1\n", r"row 1: column x missing among image, y"),
        (
            b"image,x,X\nA,1,1\nB,1,2\n",
            r"row 3: columns x \(column 2\) and X \(column 3\) contradict each other \('1', '2'\)",
        ),
        (b"image,x\nA,1\nB\nC,1\n", r"row 3: 1 value for 2 columns"),
        (b"image,x\nA,1,2\n", r"row 2: 3 values for 2 columns"),
        (b"image,x\nA,1\n,2\n", r"row 3, column image: empty; name the image"),
        (b"image,x\nA,1\nB,2\nA,1\n", r"row 4, column image: found 'A': is in row 2 already"),
        ("image,x\né,1\n".encode() + b"\xe9,2\n", r"row 3: byte 0xe9 is not UTF-8"),
        (b"image,x\rA,1\r\x81,2\r", r"row 3: byte 0x81 is not UTF-8"),
        ("image,x\nA,1\n".encode("utf-16")[:-1], r"row \d: byte 0x0a is not UTF-16"),
        (b"PK\x03\x04\x14\0", r"an Excel workbook or another zip, not a CSV; save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1", r"an old Excel workbook, not a CSV"),
        (b"\x1f\x8b\x08\0", r"compressed by gzip; unpack it"),
        (b"image,x\nA,\x001\n", r"row 2: a zero byte"),
        (b'image,x\nA,1\n"B,2\nC,3\n', r"row 3: .*mend the quotes"),
        (b'image,x\nA,"1"2\n', r"row 2: .*mend the quotes"),
    ],
)
def test_tables_that_stop_the_run(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_no_such_table(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "t.csv")


def test_extra_columns_are_noted_and_optional_ones_kept(tmp_path):
    path = save(tmp_path / "t.csv", ["image,x,y,z", "A,1,2,3"])
    table, problems = read(path, optional=("y", "w"))
    assert list(table) == ["image", "x", "y"]
    audit = problems.audit()
    assert list(audit) == list(AUDIT_COLUMNS)
    assert audit.iloc[0].tolist() == ["info", "t.csv", "1", "z", "", "", "column ignored"]


def test_unnamed_columns_with_values_are_noted(tmp_path):
    # As pandas writes its index.
    table, problems = read(save(tmp_path / "t.csv", [",image,x", "0,A,1", "1,B,2"]))
    assert table.to_dict("list") == {"image": ["A", "B"], "x": ["1", "2"]}
    (note,) = problems.notes
    assert (note["row"], note["message"]) == (1, "column 1 has no name: ignored")


@pytest.mark.parametrize(
    ("line", "image", "unused"),
    [("A,B,1", "A", "isic_id"), (",B,1", "B", "image"), ("A,,1", "A", "isic_id")],
)
def test_one_column_names_the_images(tmp_path, line, image, unused):
    path = save(tmp_path / "t.csv", ["image,isic_id,x", line])
    table, problems = read(path, [("image", "isic_id"), "x"])
    assert table.to_dict("list") == {"image": [image], "x": ["1"]}
    assert [note["column"] for note in problems.notes] == [unused]


def test_unused_columns_are_told_once_and_not_all(tmp_path, caplog):
    caplog.set_level("INFO")
    names = [f"n{number}" for number in range(12)]
    read(save(tmp_path / "t.csv", [",".join(["image", "x", *names]), "A,1" + ",7" * 12]))
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.endswith("12 columns not used: n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more")


def test_western_text_is_read_and_told(tmp_path, caplog):
    path = tmp_path / "t.csv"
    path.write_bytes("image,x\nläsion,1\n".encode("latin-1"))
    table, problems = read(path)
    assert table["image"].tolist() == ["läsion"]
    assert "not UTF-8: read as Western European text" in caplog.text
    assert problems.audit()["severity"].tolist() == ["warning"]


def test_ids_that_look_equal_are_equal(tmp_path):
    apart, joined = "la\u0308sion", "l\u00e4sion"
    table, _ = read(save(tmp_path / "t.csv", ["image,x", f"{apart},1"]))
    assert table["image"].tolist() == [joined]
    with pytest.raises(InputError, match=r"row 3, column image: .* is in row 2 already"):
        read(save(tmp_path / "t.csv", ["image,x", f"{apart},1", f"{joined},1"]))


LONG = "y" * 40_000


@pytest.mark.parametrize(
    "lines",
    [
        [f"image,{LONG}", "A,1"],
        [",".join(["image", *(f"column{n}" for n in range(5000))]), "A" + ",1" * 5000],
        ["image,x", f"{LONG},1", f"{LONG},2"],
        ["image,x", *[f"{LONG}{n % 2},1" for n in range(40)]],
        ["image,x", ",".join(["A"] * 9000)],
        ["image,x,x", f"A,{LONG},{LONG}z"],
    ],
    ids=["a column", "columns", "a name", "names", "cells", "two values"],
)
def test_messages_have_a_readable_length(tmp_path, lines):
    with pytest.raises(InputError) as caught:
        read(save(tmp_path / "t.csv", lines))
    assert max(map(len, str(caught.value).splitlines())) < 1500
    assert len(str(caught.value)) < 8000


def test_ten_problems_are_told_and_the_rest_counted(tmp_path):
    path = save(tmp_path / "t.csv", ["image,x", "A,1", *["A,1"] * 13])
    with pytest.raises(InputError, match="13 problems") as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[-1].strip() == "... and 3 more"


@pytest.mark.parametrize(
    ("count", "of", "many"), [(5, 10, False), (6, 10, True), (25, 25331, False), (26, 25331, True)]
)
def test_too_many(count, of, many):
    assert too_many(count, of) is many


def truth(path, lines, kind="train", header=HEADER):
    problems = Problems()
    save(path, [header, *lines])
    return read_ground_truth(path, kind=kind, problems=problems), problems


def test_ground_truth(tmp_path):
    lines = [truth_line(f"I{i}", name) for i, name in enumerate(CLASSES)]
    table, problems = truth(tmp_path / "t.csv", lines)
    assert table["diagnosis"].tolist() == list(CLASSES)
    assert not problems.notes


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("1", "0"),
        ("1.0", "0.0"),
        ("True", "False"),
        ("TRUE", "false"),
        ("1.000000", "0e0"),
        ('"1,0"', '"0,0"'),
    ],
)
def test_spellings_of_a_diagnosis(tmp_path, yes, no):
    header = HEADER.replace("image", "ISIC_ID").replace("MEL,NV", "mel,nv")
    marks = [yes if name == "NV" else no for name in GROUND_TRUTH_COLUMNS[1:]]
    table, _ = truth(tmp_path / "t.csv", [",".join(["A", *marks])], header=header)
    assert table[["image", "diagnosis"]].to_numpy().tolist() == [["A", "NV"]]


def test_absent_class_is_noted(tmp_path):
    lines = [truth_line(f"I{i}", name) for i, name in enumerate(CLASSES) if name != "DF"]
    _, problems = truth(tmp_path / "t.csv", lines)
    assert problems.audit()[["column", "message"]].to_numpy().tolist() == [
        ["DF", "no image of this class"]
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("A,1.0,1.0,0,0,0,0,0,0,0", r"row 3, image A: 2 diagnoses \(MEL and NV\)"),
        ("A,0,0,0,0,0,0,0,0,0", r"row 3, image A: no diagnosis; set one to 1"),
        ("A,,1.0,0,0,0,0,0,0,0", r"row 3, column MEL, image A: found 'nothing': a diagnosis is"),
        ("A,NaN,1.0,0,0,0,0,0,0,0", r"column MEL, image A: found 'NaN'"),
        ("A,yes,1.0,0,0,0,0,0,0,0", r"column MEL, image A: found 'yes'"),
        ("A,T,1.0,0,0,0,0,0,0,0", r"column MEL, image A: found 'T'"),
        ("A,0.5,0.5,0,0,0,0,0,0,0", r"2 problems\n.*column MEL.*'0\.5'[^\n]*\n.*column NV"),
        ("A,0,0,0,0,0,0,0,0,1.0", r"row 3, column UNK, image A: no class to train on"),
    ],
)
def test_ground_truth_that_stops_the_run(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        truth(tmp_path / "t.csv", [truth_line("B"), line])


def test_test_set_has_unknowns_and_weights(tmp_path):
    header = HEADER + ",score_weight,validation_weight"
    lines = [truth_line("A", "UNK") + ",1.0,0.0", truth_line("B") + ",0.5,1.0"]
    table, problems = truth(tmp_path / "t.csv", lines, "test", header)
    assert table["diagnosis"].tolist() == ["UNK", "NV"]
    assert table["score_weight"].tolist() == [1.0, 0.5]
    assert not problems.notes


def test_test_set_without_weights_weighs_one(tmp_path):
    table, problems = truth(tmp_path / "t.csv", [truth_line("A", "UNK")], "test")
    assert table["score_weight"].tolist() == [1.0]
    assert problems.audit()["column"].tolist() == ["score_weight", "validation_weight"]


@pytest.mark.parametrize("value", ["-1", "x", "", "nan", "inf"])
def test_bad_weights(tmp_path, value):
    header = HEADER + ",score_weight,validation_weight"
    with pytest.raises(InputError, match="row 2, column score_weight, image A: found"):
        truth(tmp_path / "t.csv", [truth_line("A") + f",{value},1"], "test", header)


def metadata(path, lines, kind="train", header=META):
    problems = Problems()
    save(path, [header, *lines])
    return read_metadata(path, kind=kind, problems=problems), problems


def test_metadata(tmp_path):
    lines = ["A,55.0,anterior torso,HAM_1,Female", "B,,,,", "C,0,head/neck,,male"]
    table, problems = metadata(tmp_path / "m.csv", lines)
    assert table["age"].fillna(-1).tolist() == [55.0, -1, 0]
    assert table["sex"].tolist() == ["female", "", "male"]
    assert table["site"].tolist() == ["anterior torso", "", "head/neck"]
    assert table["lesion_id"].tolist() == ["HAM_1", "", ""]
    assert not problems.notes


@pytest.mark.parametrize(
    ("line", "column", "value", "field"),
    [
        ("A,-5,,,", "age_approx", "-5", "age"),
        ("A,200,,,", "age_approx", "200", "age"),
        ("A,abc,,,", "age_approx", "abc", "age"),
        ("A,nan,,,", "age_approx", "nan", "age"),
        ("A,inf,,,", "age_approx", "inf", "age"),
        ("A,50,left ear,,", "anatom_site_general", "left ear", "site"),
        ("A,50,,,robot", "sex", "robot", "sex"),
        ("A,50,,NaN,male", "lesion_id", "NaN", "lesion_id"),
    ],
)
def test_odd_fields_become_missing_with_a_note(tmp_path, line, column, value, field):
    table, problems = metadata(tmp_path / "m.csv", ["B,50,,,male", line])
    assert table[field].iloc[1] == "" or table[field].isna().iloc[1]
    (note,) = problems.audit().to_dict("records")
    assert note["severity"] == "warning"
    assert (note["file"], note["row"], note["image"]) == ("m.csv", "3", "A")
    assert (note["column"], note["value"]) == (column, value)
    assert "taken as missing" in note["message"]


@pytest.mark.parametrize(
    ("line", "column", "value"),
    [
        ("{},660,,,male", "age_approx", "660"),
        ("{},50,,,7", "sex", "7"),
        ("{},50,moon,,male", "anatom_site_general", "moon"),
    ],
)
def test_a_column_of_another_kind_stops_the_run(tmp_path, caplog, line, column, value):
    odd, fine = [line.format(n) for n in range(6)], ["x,50,,,male", "y,,,,", "z,,,,"]
    with pytest.raises(InputError, match=rf"m\.csv: column {column}: found '{value}': .* in 6 of"):
        metadata(tmp_path / "m.csv", [*odd, *fine])
    metadata(tmp_path / "m.csv", ["u,unknown,unknown,,unknown", *odd[:5], *fine])
    assert f"{column}: 5 values not" in caplog.text
    assert f"e.g. '{value}' in row 3: taken as missing" in caplog.text


def test_ways_of_writing_that_nothing_is_known_stop_no_run(tmp_path, caplog):
    table, _ = metadata(tmp_path / "m.csv", [f"{n},unknown,n/a,,Unknown" for n in range(9)])
    assert table["age"].isna().all()
    assert not caplog.records


def test_metadata_of_the_test_set_has_no_lesions(tmp_path):
    header = "image,age_approx,anatom_site_general,sex"
    table, _ = metadata(tmp_path / "m.csv", ["A,50,,male"], "test", header)
    assert table["lesion_id"].tolist() == [""]
    with pytest.raises(InputError, match="column lesion_id missing"):
        metadata(tmp_path / "m.csv", ["A,50,,male"], "train", header)

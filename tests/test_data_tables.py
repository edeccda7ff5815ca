"""CSV, Parquet, DataFrames: types, targets, missing values, identifiers, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from data_problems import named
from hypothesis import given
from hypothesis import strategies as st

from fitwell.data import BadData, check, csv_text, read
from fitwell.data.columns import convert_like
from fitwell.data.csv_file import read_text_table
from fitwell.data.csv_text import PIECE_BYTES, is_utf8
from fitwell.data.inputs import read_inputs
from fitwell.spec import Column


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(header: str, *lines: str, times: int = 10) -> str:
    """A CSV in which every line stands `times` times with another first number."""
    out = [header]
    for i in range(times):
        out += [f"{i * len(lines) + j}.5,{line}" for j, line in enumerate(lines)]
    return "\n".join(out) + "\n"


MIXED = rows("length,colour,target", "red,yes", "blue,no", ",yes")


def test_numbers_categories_and_missing_inputs(tmp_path: Path) -> None:
    data, problems = check(write(tmp_path, MIXED))
    assert data is not None
    assert data.spec.columns == (
        Column("length"),
        Column("colour", "category", ("blue", "red")),
    )
    assert data.spec.input_shape == (3,)
    assert data.spec.classes == ("no", "yes")
    assert data.spec.target == "target"
    assert data.inputs[:3].tolist()[0] == [0.5, 1.0]
    assert np.isnan(data.inputs[2, 1])
    assert data.keys[:2].tolist() == ["row 1", "row 2"]
    assert named(problems, "target_guessed").where == ("target",)
    assert named(problems, "missing_values").where == (
        "colour",
        *(f"row {i}" for i in range(3, 31, 3)),
    )


def test_target_by_name_by_last_column_and_ambiguous(tmp_path: Path) -> None:
    path = write(tmp_path, rows("a,kind,b", "x,1.5", "y,2.5"))
    data, problems = check(path)
    assert data is not None
    assert data.spec.target == "b"
    assert "last column" in named(problems, "target_guessed").message
    data = read(path, {"target": "kind"})
    assert data.spec.classes == ("x", "y")
    assert "target_guessed" not in {p.name for p in data.problems}
    with pytest.raises(BadData, match="Did you mean kind") as error:
        read(path, {"target": "kinds"})
    assert error.value.setting == "data.target"
    assert "It has: a, kind and b." in error.value.message
    path = write(tmp_path, rows("a,label,class", "1,2", "2,1"))
    with pytest.raises(BadData, match=r"label and class could each.*data\.target=label"):
        read(path)


@pytest.mark.parametrize("missing", ["", "NaN", "NA", "?", " "])
def test_missing_targets_are_refused_by_row(tmp_path: Path, missing: str) -> None:
    lines = ["a,target", *(f"{i},{i * 1.5}" for i in range(40))]
    lines[5] = f"4,{missing}"
    lines[10] = f"9,{missing}"
    with pytest.raises(BadData, match="2 of 40") as error:
        read(write(tmp_path, "\n".join(lines)))
    assert named(error.value.problems, "missing_target").where == ("row 5", "row 10")
    assert error.value.exit_code == 2
    words = [line.replace(line.split(",")[1], "yes") if i else line for i, line in enumerate(lines)]
    words[5] = f"4,{missing}"
    with pytest.raises(BadData) as error:
        read(write(tmp_path, "\n".join(words)))
    assert named(error.value.problems, "missing_target").where == ("row 5",)


def test_infinite_inputs_and_targets(tmp_path: Path) -> None:
    lines = ["a,b,target", *(f"{i},{i % 7},{i * 1.5}" for i in range(40))]
    lines[3] = "2,inf,3"
    with pytest.raises(BadData) as error:
        read(write(tmp_path, "\n".join(lines)))
    assert named(error.value.problems, "nonfinite_inputs").where == ("row 3",)
    lines[3] = "2,2,-inf"
    with pytest.raises(BadData) as error:
        read(write(tmp_path, "\n".join(lines)))
    assert named(error.value.problems, "missing_target").where == ("row 3",)


def test_text_among_numbers_is_named_and_counts_as_missing(tmp_path: Path) -> None:
    lines = ["a,b,target", *(f"{i}.5,{i * 3},{i % 2}" for i in range(60))]
    lines[8] = "7.5,1O5,1"
    data, problems = check(write(tmp_path, "\n".join(lines)))
    assert data is not None
    wrong = named(problems, "not_a_number")
    assert wrong.where == ("row 8",)
    assert "1O5" in wrong.message
    assert np.isnan(data.inputs[7, 1])
    assert np.isnan(data.inputs).sum() == 1


def test_identifiers_are_left_out_and_said(tmp_path: Path) -> None:
    lines = ["id,name,a,target", *(f"{i},n{i},{i * 0.5},{i % 2}" for i in range(60))]
    data, problems = check(write(tmp_path, "\n".join(lines)))
    assert data is not None
    assert [c.name for c in data.spec.columns] == ["a"]
    assert set(named(problems, "id_column").where) == {"id", "name"}


def test_constant_column_and_constant_target(tmp_path: Path) -> None:
    path = write(tmp_path, rows("a,b,c,target", "7,x,1", "7,x,0"))
    assert named(check(path)[1], "constant_column").where == ("b", "c")
    path = write(tmp_path, rows("a,target", "2.5", "2.5"))
    with pytest.raises(BadData, match=r"target is 2.5 in every example"):
        read(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "empty_file"),
        ("\n \n", "empty_file"),
        ("\ufeff\n", "empty_file"),
        ("a,target\n", "empty_file"),
        ("a,target\n1,2\n", "too_few_examples"),
        ("a,target\n" + "".join(f"{i},x\n" for i in range(60)), "one_class"),
        ("a,target\n1,z\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(60)), "single_example"),
        ("target\n1\n2\n3\n4\n", "no_inputs"),
        ("a,b,target\n1,2,3\n1,2,3,4,5\n", "broken_row"),
        ("a,a,target\n1,2,x\n2,3,y\n", "duplicate_columns"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, name: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadData) as error:
        read(path)
    first = error.value.problems[0]
    assert first.name.startswith(name)
    assert first.severity == "error"
    assert first.where
    assert first.mend
    assert check(path)[1][0].name == first.name


def test_text_in_a_target_of_numbers_is_quoted_with_its_row(tmp_path: Path) -> None:
    path = write(tmp_path, "a,target\n" + "".join(f"{i},{i}.5\n" for i in range(60)) + "1,oops\n")
    with pytest.raises(BadData, match=r"1 of 61 values .* no numbers \(oops in row 61\)"):
        read(path)


def test_class_with_one_example_names_class_and_row(tmp_path: Path) -> None:
    path = write(tmp_path, rows("a,target", "x", "y") + "99,z\n")
    with pytest.raises(BadData) as error:
        read(path)
    assert named(error.value.problems, "single_example_class").where == ("z", "row 21")


def test_binary_rubbish_is_not_a_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(BadData, match="not a text file"):
        read(path)
    (tmp_path / "t.parquet").write_bytes(b"rubbish")
    with pytest.raises(BadData, match="not a Parquet file"):
        read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("separator", "name", "decimal"),
    [
        (",", "t.csv", "."),
        (";", "t.csv", ","),
        ("\t", "t.tsv", "."),
        ("|", "t.txt", "."),
        ("  ", "t.dat", "."),
    ],
)
def test_separators_and_decimal_commas(
    tmp_path: Path, separator: str, name: str, decimal: str
) -> None:
    lines = [f"{i}.25{separator}{i % 5}.5{separator}{i * 2}.75" for i in range(30)]
    data = read(write(tmp_path, "\n".join(lines).replace(".", decimal), name))
    assert data.inputs.shape == (30, 2)
    np.testing.assert_allclose(data.inputs[:, 0], np.arange(30) + 0.25)
    np.testing.assert_allclose(data.targets, np.arange(30) * 2 + 0.75)
    assert data.spec.target == "column_3"  # no header: the first line holds numbers


def test_quotes_blank_lines_bom_and_latin(tmp_path: Path) -> None:
    text = '"a","colour, outside",target\n' + '1.5,"red, dark",x\n\n2.5,"gr\u00fcn",y\n' * 10
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    data = read(path)
    assert [c.name for c in data.spec.columns] == ["a", "colour, outside"]
    assert data.spec.columns[1].categories == ("gr\u00fcn", "red, dark")
    assert len(data) == 20
    assert data.keys[1] == "row 3"  # the blank line keeps its number
    path.write_bytes(text.encode("latin-1"))
    assert len(read(path)) == 20


def line_problems(folder: Path, raw: bytes, name: str = "t.csv") -> dict[str, Any]:
    path = folder / name
    path.write_bytes(raw)
    _, problems = check(path, {"target": "label"})
    return {p.name: p for p in problems}


def test_western_letters_are_read_and_said(tmp_path: Path) -> None:
    text = "colour,label\n" + "gr\u00fcn,x\nros\u00e9,y\n" * 10
    found = line_problems(tmp_path, text.encode("cp1252"))
    assert found["not_utf8"].severity == "note" and "mixed_encodings" not in found
    assert read(tmp_path / "t.csv").spec.columns[0].categories == ("gr\u00fcn", "ros\u00e9")
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        found = line_problems(tmp_path, text.encode(encoding))
        assert not {"not_utf8", "mixed_encodings"} & set(found)
        assert read(tmp_path / "t.csv").spec.columns[0].categories == ("gr\u00fcn", "ros\u00e9")


def test_two_encodings_in_a_file_are_named_with_their_lines(tmp_path: Path) -> None:
    lines = ["colour,label", *["gr\u00fcn,x", "ros\u00e9,y"] * 10]
    raw = [line.encode("cp1252" if i in (2, 9) else "utf-8") for i, line in enumerate(lines)]
    for start in (b"", b"\xef\xbb\xbf"):
        found = line_problems(tmp_path, start + b"\r\n".join(raw))
        assert found["mixed_encodings"].where == ("line 3", "line 10")
        assert found["mixed_encodings"].severity == "warning"
        assert "18 lines in UTF-8, 2 lines not" in found["mixed_encodings"].message
        data = read(tmp_path / "t.csv")
        assert data.spec.columns[0].categories == ("gr\u00fcn", "ros\u00e9")


def test_lines_with_more_or_fewer_cells_are_named(tmp_path: Path) -> None:
    good = "a,b,label\n" + "1,2,x\n3,5,y\n" * 6
    assert not {"broken_row", "short_rows"} & set(line_problems(tmp_path, good.encode()))
    found = line_problems(tmp_path, (good + "\n \n1,2,x,4,5\n7,8,9,y\n").encode())
    assert found["broken_row"].where == ("line 16", "line 17")
    said = "first line has 3 cells, and 2 lines more: line 16 (5) and line 17 (4)"
    assert said in found["broken_row"].message
    found = line_problems(tmp_path, b"label,a,b\n" + b"x,1,2\ny,3,5\n" * 6 + b"x,1\r\ny,3,5")
    assert found["short_rows"].where == ("line 14",) and "missing_values" in found
    quoted = b"label,a,b\n" + b'x,"1,5",2\ny,"3\n4",5\n' * 6 + b'x,"1,2"\n'
    assert line_problems(tmp_path, quoted)["short_rows"].where == ("line 20",)
    found = line_problems(tmp_path, (good + "1,2\n").encode())  # the target itself is lacking
    assert {"missing_target", "short_rows"} <= set(found)


def test_a_quote_that_is_not_closed_is_named_before_the_rows_that_it_breaks(tmp_path: Path) -> None:
    text = 'a,b\n1,"x\n2,"y",z,w\n' + "3,4\n" * 6
    with pytest.raises(BadData, match="in line 2 a cell opens with a quote"):
        read(write(tmp_path, text))


def test_short_rows_are_said_when_predicting_too(tmp_path: Path) -> None:
    spec = read(write(tmp_path, "a,b,label\n" + "1,2,x\n3,5,y\n" * 6)).spec
    found = read_inputs(write(tmp_path, "a,b\n1,2\n3\n", "new.csv"), spec)
    assert named(found.problems, "short_rows").where == ("line 3",)


@given(
    st.lists(st.text("ab,\r ", max_size=6), min_size=1, max_size=30),
    st.booleans(),
    st.integers(4, 40),
)
def test_cells_are_counted_as_a_parser_does(lines: list[str], end: bool, most: int) -> None:
    """Whatever the lines, in whatever pieces they are looked at."""
    lines = [line.replace("\r", "") for line in lines]
    raw = ("\n".join(lines) + "\n" * end).encode()
    rows = {i + 1: len(line.split(",")) for i, line in enumerate(lines) if line.strip()}
    usual = next(iter(rows.values()), 0)
    want = {i: count for i, count in rows.items() if count != usual}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_text, "COUNTED_BYTES", most)
        assert csv_text.other_widths(raw, ",", quoted=True) == (want, usual)


TALK = [f"a film {i} that I would see again\tgood" for i in range(20)]


def cells(folder: Path, *lines: str, name: str = "t.tsv") -> list[tuple[str, ...]]:
    return read_text_table(write(folder, "\n".join(lines) + "\n", name))[0].rows()


def test_quotes_between_tabs_are_letters_unless_they_close(tmp_path: Path) -> None:
    lines = list(TALK)
    lines[3] = '"No," she said\tbad'  # closes, but not at the end of its cell
    lines[5], lines[9] = '"Never again\tbad', 'what a "film"\tgood'
    assert cells(tmp_path, "text\tlabel", *lines) == [tuple(line.split("\t")) for line in lines]
    lines[9] = 'again"\tgood'  # the quote of line 5 is closed here: four lines would be one cell
    assert cells(tmp_path, "text\tlabel", *lines) == [tuple(line.split("\t")) for line in lines]
    no_header = ['"Never again\tbad', *lines]
    assert len(cells(tmp_path, *no_header)) == 21


def test_quotes_between_tabs_that_close_part_cells(tmp_path: Path) -> None:
    quoted = ['"a ""fine"" film"\tgood', '"one\ttab"\tbad', '""\tbad']
    found = cells(tmp_path, "text\tlabel", *quoted, *TALK)
    assert found[:2] == [('a "fine" film', "good"), ("one\ttab", "bad")] and len(found) == 23
    found = cells(tmp_path, "text\tlabel", '"two\nlines"\tgood', *TALK)  # as Excel writes them
    assert found[0] == ("two\nlines", "good") and len(found) == 21
    found = cells(tmp_path, "text\tlabel", '"a\u2028line"\tgood', *TALK)
    assert found[0] == ("a\u2028line", "good")


@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_a_quote_that_is_not_closed_is_said_with_its_line(tmp_path: Path, separator: str) -> None:
    lines = [line.replace("\t", separator) for line in ["text\tlabel", *TALK]]
    lines[2] = f'"two\nlines"{separator}good'
    lines[7] = f'"Never again{separator}bad'  # line 9 of the file
    with pytest.raises(BadData, match="in line 9 a cell opens with a quote") as raised:
        cells(tmp_path, *lines, name="t.csv")
    assert "Put a quote at the end of that cell" in raised.value.problems[0].mend
    lines[12] = f'"Once more{separator}good'  # and one more, so that they are even
    with pytest.raises(BadData, match="in line 9 a cell opens with a quote"):
        cells(tmp_path, *lines, name="t.csv")


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("great film,pos,short", False),
        ("great film,pos,tall", False),  # half of the columns that repeat say so
        ("film,feeling,length", True),
        ("text,pos,length", True),  # a usual name
        ("pos,feeling,length", True),  # elsewhere than in its own column
    ],
)
def test_a_first_line_like_the_others_is_no_header(
    tmp_path: Path, first: str, header: bool
) -> None:
    lines = [f"film {i},{['pos', 'neg'][i % 2]},{['short', 'long'][i % 3 % 2]}" for i in range(40)]
    frame, _, _ = read_text_table(write(tmp_path, "\n".join([first, *lines])))
    assert frame.columns == (first.split(",") if header else ["column_1", "column_2", "column_3"])
    assert frame.height == 41 - header


def test_a_header_named_like_a_category_is_one_above_numbers_or_among_others(
    tmp_path: Path,
) -> None:
    lines = [f"{'ab'[i % 2]},{['yes', 'no'][i % 2]},{'cd'[i % 2]}" for i in range(20)]
    assert read_text_table(write(tmp_path, "\n".join(["kind,yes,size", *lines])))[0].height == 20
    lines = [f"{20 + i},{['yes', 'no'][i % 2]}" for i in range(20)]
    assert read_text_table(write(tmp_path, "\n".join(["age,yes", *lines])))[0].height == 20
    text = "\n".join(["age;yes", *(f"{i},5;{['yes', 'no'][i % 2]}" for i in range(20))])
    assert read_text_table(write(tmp_path, text))[0].columns == ["age", "yes"]


def test_whole_numbers_are_classes_or_a_quantity(tmp_path: Path) -> None:
    few = write(tmp_path, "a,target\n" + "".join(f"{i}.5,{i % 3}\n" for i in range(60)))
    data, problems = check(few)
    assert data is not None
    assert data.spec.classes == ("0", "1", "2")
    assert "data.task=regression" in named(problems, "task_guessed").mend
    forced = read(few, {"task": "regression"})
    assert forced.spec.task == "regression"
    assert forced.targets.dtype == np.float32
    many = write(tmp_path, "a,target\n" + "".join(f"{i}.5,{i % 40}\n" for i in range(80)))
    assert read(many).spec.task == "regression"
    assert len(read(many, {"task": "classification"}).spec.classes) == 40
    words = write(tmp_path, rows("a,target", "x", "y"))
    with pytest.raises(BadData, match="holds text such as x") as error:
        read(words, {"task": "regression"})
    assert error.value.setting == "data.task"


def test_groups(tmp_path: Path) -> None:
    path = write(tmp_path, rows("a,patient,target", "p1,x", "p2,y", "p1,y", "p3,x"))
    data = read(path, {"group": "patient"})
    assert [c.name for c in data.spec.columns] == ["a"]
    assert data.groups is not None
    assert data.groups[:4].tolist() == [0, 1, 0, 2]
    with pytest.raises(BadData, match="Did you mean patient"):
        read(path, {"group": "patients"})
    with pytest.raises(BadData, match="what is named is the target"):
        read(path, {"group": "target", "target": "target"})


FRAME = {
    "a": [float(i) for i in range(20)],
    "c": ["x", "y"] * 10,
    "b": [True, False] * 10,
    "target": ["no", "no", "yes", "yes"] * 5,
}


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_data_frames(library: str) -> None:
    frame: Any = pl.DataFrame(FRAME) if library == "polars" else pd.DataFrame(FRAME)
    data = read(frame)
    assert data.name == "table"
    assert data.spec.input_shape == (4,)
    assert data.inputs[:2].tolist() == [[0, 0, 1], [1, 1, 0]]
    assert data.keys[0] == "row 0"
    inputs = frame.drop("target") if library == "polars" else frame.drop(columns="target")
    beside = read((inputs, frame["target"]))
    np.testing.assert_array_equal(beside.inputs, data.inputs)
    np.testing.assert_array_equal(beside.targets, data.targets)


def test_pandas_kinds_of_missing() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.0, np.nan] * 10,
            "nullable": pd.array([1, None] * 10, dtype="Int64"),
            "category": pd.Categorical(["u", None, "v", "u"] * 5),
            "text": ["s", None] * 10,
            "target": [1, 2] * 10,
        }
    )
    data = read(frame)
    assert [c.kind for c in data.spec.columns] == ["numeric", "numeric", "category", "category"]
    assert np.isnan(data.inputs[1]).all()
    assert data.inputs[0].tolist() == [1, 1, 0, 0]
    frame["target"] = frame["target"].astype("float")
    frame.loc[4, "target"] = np.nan
    with pytest.raises(BadData) as error:
        read(frame)
    assert named(error.value.problems, "missing_target").where == ("row 4",)


def test_parquet(tmp_path: Path) -> None:
    pl.DataFrame(FRAME).write_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(
        read(tmp_path / "t.parquet").inputs, read(pl.DataFrame(FRAME)).inputs
    )


def test_inputs_for_a_model_that_exists(tmp_path: Path) -> None:
    data = read(write(tmp_path, MIXED))
    new = write(tmp_path, "colour,other,length\nblue,1,4\nviolet,2,5\n", "new.csv")
    found = read_inputs(new, data.spec)
    assert found.inputs[0].tolist() == [4, 0]
    assert np.isnan(found.inputs[1, 1])
    assert found.problems[0].name == "unknown_category"
    assert found.problems[0].where == ("row 2",)
    with pytest.raises(BadData, match=r"no column length.*Did you mean lenght"):
        read_inputs(write(tmp_path, "colour,lenght\nblue,4\n", "bad.csv"), data.spec)
    other = read(write(tmp_path, rows("length,colour,target", "red,yes", "red,no")), like=data.spec)
    assert other.inputs[0].tolist() == [0.5, 1.0]  # red keeps its code though blue is not there


def test_california(shared: Path) -> None:
    data = read(shared / "tabular" / "california_housing.csv", {"target": "median_house_value"})
    assert data.spec.task == "regression"
    assert data.spec.input_shape == (13,)
    assert int(np.isnan(data.inputs).sum()) == 207
    assert data.spec.columns[-1].categories[2] == "ISLAND"


def test_german_credit_without_header(shared: Path) -> None:
    data = read(shared / "tabular" / "german.csv")
    assert data.inputs.shape == (1000, 20)
    assert data.spec.class_counts == (700, 300)


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_utf8_is_told_where_a_letter_lies_between_two_pieces(cut: int) -> None:
    text = b"a" * (PIECE_BYTES - cut) + "\N{WAVE DASH}".encode()  # three bytes
    assert is_utf8(text) and is_utf8(text + b"b" * 9)
    assert not is_utf8(text[:-1]) and not is_utf8(text[:-1] + b"b")


def test_codes_are_the_places_among_the_categories() -> None:
    """A model's own categories, among them none and unknown ones, against a dictionary."""
    texts = ["b", None, "a", " a ", "z", "", "nan", "c"]
    known = ("a", "b", "c")
    for categories in (known, ()):
        column = Column("x", "category", categories)
        got, _ = convert_like(pl.Series("x", texts), column, [f"row {i}" for i in range(8)], False)
        place = {name: i for i, name in enumerate(categories)}
        naive = [place.get((text or "").strip(), np.nan) for text in texts]
        np.testing.assert_array_equal(got, np.array(naive, np.float32))

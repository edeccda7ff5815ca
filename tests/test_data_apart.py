"""Columns of groups and times: of every kind of table, never the target, none of them missing."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fitwell.data import BadData, Data, check, read, split
from fitwell.errors import SettingError

RNG = np.random.default_rng


def later(data: Data, options: dict[str, Any]) -> None:
    """What is held out must be later than what is trained on."""
    assert data.times is not None and len(data.times) == len(data)
    rows = split.fit_rows(data, options, 0)
    assert data.times[rows.train].max() < data.times[rows.validation].min()
    assert data.times[rows.validation].max() < data.times[rows.held_out].min()


def dates(n: int) -> list[str]:
    """Days in no order."""
    return [f"2020-{1 + i // 28:02}-{1 + i % 28:02}" for i in RNG(0).permutation(n).tolist()]


def pixels(n: int) -> np.ndarray:
    return RNG(1).integers(0, 255, (n, 9, 9), dtype=np.uint8)


def test_files_of_a_list_are_parted_by_time(tmp_path: Path) -> None:
    when = dates(60)
    for i, picture in enumerate(pixels(60)):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    (tmp_path / "7.png").write_bytes(b"no picture")  # its time goes with it
    pl.DataFrame(
        {"file": [f"{i}.png" for i in range(60)], "label": ["a", "b"] * 30, "when": when}
    ).write_csv(tmp_path / "list.csv")
    options = {"time": "when"}
    data = read(tmp_path / "list.csv", options)
    later(data, options)
    place = {f"{i}.png": day for i, day in enumerate(when)}
    assert data.times is not None
    order = np.argsort(data.times).tolist()
    assert [place[data.keys[i]] for i in order] == sorted(place[key] for key in data.keys)
    assert "when" not in str([p for p in data.problems if p.name == "columns_ignored"])


def test_texts_are_parted_by_time(tmp_path: Path) -> None:
    said = [f"this is the text number {i} of someone who wrote quite a lot" for i in range(80)]
    table = pl.DataFrame({"text": [*said[:-1], ""], "day": range(80), "label": ["a", "b"] * 40})
    options = {"text": "text", "time": "day"}
    data = read(table, options)
    assert len(data) == 79 and data.spec.kind == "text"
    later(data, options)


def test_pictures_in_parquet_are_parted_by_time(tmp_path: Path) -> None:
    from io import BytesIO

    cells = []
    for picture in pixels(60):
        out = BytesIO()
        Image.fromarray(picture).save(out, "PNG")
        cells.append(out.getvalue())
    table = pl.DataFrame({"image": cells, "label": ["a", "b"] * 30, "when": dates(60)})
    table.write_parquet(tmp_path / "pictures.parquet")
    options = {"time": "when"}
    later(read(tmp_path / "pictures.parquet", options), options)


@pytest.mark.parametrize("setting", ["group", "time"])
@pytest.mark.parametrize("target", ["", "y"])
def test_the_target_does_not_part_the_examples(setting: str, target: str) -> None:
    table = pl.DataFrame({"a": RNG(0).normal(size=60), "y": [0, 1, 2] * 20, "b": range(60)})
    with pytest.raises(
        BadData, match=rf"data\.{setting} = y: what is named is the target"
    ) as error:
        read(table, {setting: "y", "target": target})
    assert error.value.setting == f"data.{setting}"


def test_the_last_column_is_the_target_unless_it_parts_the_examples() -> None:
    table = pl.DataFrame({"a": RNG(0).normal(size=60), "b": [0, 1, 2] * 20, "when": range(60)})
    data = read(table, {"time": "when"})
    assert data.spec.target == "b"
    [note] = [p for p in data.problems if p.name == "target_guessed"]
    assert note.message.endswith("because it is the last column but when.")


@pytest.mark.parametrize("missing", ["", "NA"])
def test_rows_without_a_group_are_no_group(missing: str, tmp_path: Path) -> None:
    who = [f"p{i // 3}" for i in range(60)]
    who[4] = who[40] = missing
    path = tmp_path / "table.csv"
    pl.DataFrame({"a": RNG(0).normal(size=60), "who": who, "y": [0, 1] * 30}).write_csv(path)
    data, problems = check(path, {"group": "who"})
    assert data is None
    [problem] = problems
    assert (problem.name, problem.where) == ("missing_group", ("row 5", "row 41"))
    assert "2 of 60 rows say no group (row 5 and row 41)" in problem.message
    with pytest.raises(SettingError, match="beside"):
        read(path, {"group": "who", "time": "a"})


def test_arrays_of_an_archive_are_parted_by_time(tmp_path: Path) -> None:
    path, order = tmp_path / "a.npz", RNG(0).permutation(90)
    days = np.datetime64("2020-01-01") + order
    x, y = RNG(1).normal(size=(90, 3)), order % 3
    np.savez(path, X=x, y=y, when=order * 0.5, days=days, text=days.astype(str), who=order // 3)
    for name in ("when", "days", "text"):
        options = {"time": name}
        data = read(path, options)
        later(data, options)
        assert data.times is not None
        assert np.argsort(data.times).tolist() == np.argsort(order).tolist()
    assert split.reason(data, options).startswith("By data.time = text")
    with pytest.raises(BadData, match=r"no such array\. Did you mean when") as error:
        read(path, {"time": "wen"})
    assert error.value.setting == "data.time"
    with pytest.raises(BadData, match=r"data\.group = y: what is named is the target"):
        read(path, {"group": "y"})
    with pytest.raises(SettingError, match="beside"):
        read(path, {"group": "who", "time": "when"})
    short, gaps = np.arange(9), np.where(order == 4, np.nan, order)
    np.savez(path, X=x, y=y, short=short, gaps=gaps)
    with pytest.raises(BadData, match=r"90 examples, and this array has shape \[9\]"):
        read(path, {"time": "short"})
    for name in ("group", "time"):
        with pytest.raises(BadData, match=f"1 of 90 rows say no {name}"):
            read(path, {name: "gaps"})


def made(table: pl.DataFrame, name: str, **options: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    """(part, severity, where) of the problems of that name."""
    options = {"target": "y", "task": "classification", **options}
    _, problems = check(table, options)
    parts = {"test": "test part", "validation": "validation part", "training": "training part"}
    found = [p for p in problems if p.name == name]
    return [(next(k for k in parts if parts[k] in p.message), p.severity, p.where) for p in found]


def test_classes_that_are_tested_and_never_learnt_are_named() -> None:
    x = RNG(0).normal(size=200)
    table = pl.DataFrame({"a": x, "t": range(200), "y": ["a", "b"] * 100})
    late = table.with_columns(y=pl.when(pl.col("t") < 185).then("y").otherwise(pl.lit("new")))
    assert made(late, "labels_differ", time="t") == [("test", "warning", ("new",))]
    assert made(late, "labels_differ") == [] and made(table, "labels_differ", time="t") == []
    kind = [("a", "b")[i % 2] if i < 162 else "c" if i < 180 else "b" for i in range(200)]
    assert made(table.with_columns(y=pl.Series(kind)), "labels_differ", time="t") == [
        ("validation", "warning", ("c",))
    ]
    drift = ["a"] * 90 + ["b"] * 90 + ["c"] * 20
    assert made(table.with_columns(y=pl.Series(drift)), "labels_differ", time="t") == [
        ("test", "error", ("c",))
    ]
    one = ["a"] * 175 + ["b"] * 25
    assert made(table.with_columns(y=pl.Series(one)), "labels_differ", time="t") == [
        ("training", "error", ("a",))
    ]
    group = table.with_columns(g=pl.Series([i % 20 for i in range(200)]))
    group = group.with_columns(y=(pl.col("g") // 2).cast(pl.String))
    found = made(group, "labels_differ", group="g")  # two groups a class
    assert all(severity == "warning" for _, severity, _ in found)
    whole = group.with_columns(y=pl.col("g").cast(pl.String))  # one group a class
    assert [found[:2] for found in made(whole, "labels_differ", group="g")] == [
        ("test", "error"),
        ("validation", "warning"),
    ]
    with pytest.raises(BadData, match=r"(is|are) in no training example"):
        read(whole, {"target": "y", "group": "g", "task": "classification"})


def test_labels_of_several_that_are_never_learnt_are_named() -> None:
    said = ["p", "q", "p;q"] * 60 + ["p;r", "q;r"] * 10
    table = pl.DataFrame({"a": RNG(0).normal(size=200), "t": range(200), "y": said})
    assert made(table, "labels_differ", task="multilabel", time="t", validation=0.0) == [
        ("test", "warning", ("r",))
    ]
    assert made(table, "labels_differ", task="multilabel") == []
    part = ["train"] * 180 + ["test"] * 20
    own = table.with_columns(split=pl.Series(part)).drop("t")
    assert made(own, "labels_differ", task="multilabel") == [("test", "warning", ("r",))]


def test_an_empty_validation_part_is_said() -> None:
    table = pl.DataFrame({"a": RNG(0).normal(size=80), "t": [0] * 60 + [1] * 20, "y": [0, 1] * 40})
    for options in ({"time": "t"}, {"group": "t"}):
        [problem] = made(table, "no_validation_part", **options)
        assert problem[1:] == ("warning", ("data.validation",))
        assert made(table, "no_validation_part", validation=0.0, **options) == []


def test_copies_that_no_split_parts_are_a_note() -> None:
    x = RNG(0).normal(size=80)
    x[1], x[41], x[62] = x[0], x[40], x[2]  # two of one group, one of two
    group = np.arange(80) // 2
    table = pl.DataFrame({"a": x, "g": group, "y": [0, 0, 1, 1] * 20})
    options = {"group": "g", "target": "y", "task": "classification"}
    _, problems = check(table, options)
    found = {p.name: (p.severity, p.where) for p in problems if p.name.startswith("duplicate_")}
    assert found.pop("duplicate_together") == ("note", ("row 0", "row 1", "row 40", "row 41"))
    assert [severity for severity, _ in found.values()] == ["warning"]

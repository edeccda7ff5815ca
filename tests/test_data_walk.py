"""What a walk through every kind of data found: each was once lost, misread or blamed on the user."""

import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell.cli.main import run as command
from fitwell.data import split
from fitwell.data.columns import without_signs
from fitwell.data.preprocess import fit
from fitwell.errors import DataError, SettingError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def named(source: Any, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    return {p.name: p for p in fw.check(source, settings=settings).problems}


def photos(folder: str, *, names: tuple[str, ...] = ("cat", "dog"), each: int = 30) -> Path:
    random = np.random.default_rng(0)
    for name in names:
        (Path(folder) / name).mkdir(parents=True)
        for i in range(each):
            Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(
                f"{folder}/{name}/{i}.png"
            )
    return Path(folder)


def table(**columns: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {"a": random.normal(size=200), "b": random.normal(size=200), **columns}


Y = np.array(["u", "v"] * 100)


def test_twelve_bits_in_sixteen_are_named_and_floats_beyond_one_stay_bright() -> None:
    random = np.random.default_rng(0)
    for level, name in ((2000, "low"), (2060, "high")):
        Path("deep", name).mkdir(parents=True)
        for i in range(30):
            values = (level + random.normal(0, 30, (16, 16))).clip(0, 4095).astype(np.uint16)
            Image.fromarray(values).save(f"deep/{name}/{i}.png")
    found = named("deep")["few_grey_levels"]
    assert found.severity == "warning" and "of 255" in found.message
    for level, name in ((0.6, "dim"), (0.9, "bright")):
        Path("floats", name).mkdir(parents=True)
        for i in range(30):
            values = (level + random.normal(0, 0.08, (16, 16))).astype(np.float32)
            Image.fromarray(values).save(f"floats/{name}/{i}.tif")
    data = fitwell_data.read("floats")
    bright, dim = (data.inputs[data.targets == i].mean() for i in (0, 1))
    assert 215 < bright < 240 and 145 < dim < 160
    assert "deep_images" in named("floats") and "blank_image" not in named("floats")


def test_modes_are_counted_where_they_differ() -> None:
    folder = photos("photos")
    assert "mixed_modes" not in named(folder)
    Image.open(folder / "cat" / "0.png").convert("L").save(folder / "cat" / "0.png")
    assert "59 of RGB, 1 of grey" in named(folder)["mixed_modes"].message


def test_files_without_a_suffix_that_a_table_names_are_read_as_what_they_are() -> None:
    folder = photos("photos")
    for path in folder.rglob("*.png"):
        path.rename(path.with_suffix(""))
    files = sorted(path.as_posix() for path in folder.rglob("*") if path.is_file())
    pl.DataFrame({"file": files, "label": [f.split("/")[1] for f in files]}).write_csv("list.csv")
    spec = fw.check("list.csv").spec
    assert spec is not None and spec.kind == "images" and spec.num_examples == 60


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error() -> None:
    folder = photos("photos")
    (folder / "dog").chmod(0)
    try:
        assert "permission denied" in named(folder)["not_permitted"].message
    finally:
        (folder / "dog").chmod(0o755)


def test_what_may_not_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photos("photos")
    usual = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).name != "dog" and usual(path, mode)
    )
    found = named(folder)["not_permitted"]
    assert found.severity == "error" and "photos/dog" in found.message and "chmod" in found.mend


def test_a_column_without_a_name_is_an_input() -> None:
    lines = [f"{i * 7 % 11},{i * 5 % 13},{'uv'[i % 2]}" for i in range(60)]
    Path("t.csv").write_text("a,,y\n" + "\n".join(lines), encoding="utf-8")
    spec = fw.check("t.csv").spec
    assert spec is not None and [c.name for c in spec.columns] == ["a", "Unnamed: 1"]
    # The row numbers that pandas writes first are none.
    Path("p.csv").write_text(
        ",a,y\n" + "\n".join(f"{i},{i * 7 % 11},{'uv'[i % 2]}" for i in range(60)), encoding="utf-8"
    )
    spec = fw.check("p.csv").spec
    assert spec is not None and [c.name for c in spec.columns] == ["a"]


def test_annotations_that_are_cut_off_are_no_class_folders() -> None:
    folder = photos("photos", names=("day", "night"))
    (folder / "annotations.json").write_text('{"images": [{"id": 1, "file_na', encoding="utf-8")
    checked = fw.check(folder)
    assert not checked.usable
    assert "annotations.json" in str([p.where for p in checked.problems])
    (folder / "annotations.json").write_text('{"note": "all by hand"}', encoding="utf-8")
    assert fw.check(folder).usable


def test_a_picture_whose_box_has_no_class_is_not_taught_as_background() -> None:
    Path("yolo/images").mkdir(parents=True)
    Path("yolo/labels").mkdir()
    for i in range(8):
        values = np.random.default_rng(i).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(values).save(f"yolo/images/{i}.jpg")
        Path(f"yolo/labels/{i}.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    Path("yolo/data.yaml").write_text("names: [cat]\n")
    Path("yolo/labels/3.txt").write_text("4 0.5 0.5 0.3 0.3\n")
    Path("yolo/labels/5.txt").write_text("0 0.5 0.5 0.0 0.3\n")
    found = named("yolo")
    assert found["unknown_class"].severity == "error"
    assert "images_without_boxes" not in found
    fixed = fw.check("yolo", fix=True, out="clean.json").fixed
    assert fixed is not None and fixed.kept == 6
    assert fixed.left_out["box_without_class"] == ("images/3.jpg",)
    assert fixed.left_out["no_box_left"] == ("images/5.jpg",)
    files = [image["file_name"] for image in json.loads(Path("clean.json").read_text())["images"]]
    assert len(files) == 6 and not any(name.endswith(("3.jpg", "5.jpg")) for name in files)


def test_dates_in_the_other_order_than_was_said() -> None:
    when = [f"{i % 27 + 1:02}/{i % 12 + 1:02}/2023" for i in range(200)]
    pl.DataFrame(table(when=when, y=Y)).write_csv("t.csv")
    with pytest.raises(SettingError, match=r"data\.dates = month_first: when .*day_first"):
        fw.check("t.csv", settings={"data.dates": "month_first"})
    spec = fw.check("t.csv", settings={"data.dates": "day_first"}).spec
    assert spec is not None and [c.kind for c in spec.columns] == ["numeric", "numeric", "date"]


def test_numbers_with_signs_are_numbers() -> None:
    price = [f"${1000 + 7 * i:,}.50" for i in range(200)]
    share = [f"{i % 90} %" for i in range(200)]
    pl.DataFrame(table(price=price, share=share, y=Y)).write_csv("t.csv")
    data = fitwell_data.read("t.csv")
    assert [c.kind for c in data.spec.columns] == ["numeric"] * 4
    assert data.inputs[3, 2:].tolist() == [1021.5, 3.0]
    assert without_signs(pl.Series(["1,500", "2,250"]), True).to_list() == ["1.500", "2.250"]
    assert without_signs(pl.Series(["1,500", "2,250"]), False).to_list() == ["1500", "2250"]


def test_a_column_of_parts_is_the_split_of_a_table() -> None:
    part = np.array(["train"] * 150 + ["test"] * 50)
    labels = np.where(np.arange(200) == 199, "w", Y)
    pl.DataFrame(table(split=part, y=labels)).write_csv("t.csv")
    data, problems = fitwell_data.check("t.csv")
    assert data is not None and [c.name for c in data.spec.columns] == ["a", "b"]
    assert (data.part == "test").sum() == 50
    assert "w" in next(p for p in problems if p.name == "labels_differ").message


def test_a_table_that_changes_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pl.DataFrame(table(y=Y)).write_csv("t.csv")
    from fitwell.data import frames

    usual = frames.read_text_table

    def growing(path: Path) -> Any:
        found = usual(path)
        with path.open("a") as file:
            file.write("1,2,u\n")
        return found

    monkeypatch.setattr(frames, "read_text_table", growing)
    assert "1 file changed while" in named("t.csv")["changed_while_read"].message


def test_what_is_no_file_at_all() -> None:
    Path("empty").mkdir()
    assert "IDX" in named("mnist", {"data.root": "empty"})["no_images"].message
    frame = pl.DataFrame(table(y=Y, many=[[1, 2]] * 200, blob=[b"\xff"] * 200))
    frame.write_parquet("t.parquet")
    for source in ("t.parquet", frame):
        assert named(source)["nested_column"].where == ("many", "blob")
    Path("mac.csv").write_bytes(
        b"a,y\r" + b"\r".join(b"%d,%s" % (i, b"uv"[i % 2 : i % 2 + 1]) for i in range(60))
    )
    spec = fw.check("mac.csv").spec
    assert spec is not None and spec.num_examples == 60
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe.csv")
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(named("pipe.csv")), daemon=True)
        thread.start()
        thread.join(20)
        assert "neither a file nor a folder" in found[0]["unknown_file"].message


def test_pandas_columns_of_one_name() -> None:
    import pandas as pd

    frame = pd.DataFrame(table(y=Y))
    assert "duplicate_columns" in named(pd.concat([frame, frame[["a"]]], axis=1))


def test_copies_are_counted_by_what_is_to_be_predicted() -> None:
    values = table(y=Y)
    frame = pl.DataFrame(values)
    copies, flipped = frame[:40], frame[40:60].with_columns(y=pl.lit("v"))
    pl.concat([frame, copies, flipped]).write_csv("t.csv")
    found = named("t.csv")
    same = 40 + int((values["y"][40:60] == "v").sum())
    counts = [
        int(found[name].message.split()[0])
        for name in ("duplicate_examples", "duplicate_across_split")
        if name in found
    ]
    assert sum(counts) == 2 * same
    assert found["conflicting_labels"].message.startswith(f"{2 * (60 - same)} examples")


def test_rows_of_a_list_that_name_one_file_twice_or_none() -> None:
    files = [path.as_posix() for path in photos("photos").rglob("*.png")]
    Path("photos/note.txt").write_text("by hand", encoding="utf-8")
    files += [files[0], "photos/note.txt"]
    pl.DataFrame({"file": files, "label": [f.split("/")[1] for f in files]}).write_csv("list.csv")
    found = named("list.csv")
    counts = [found[name] for name in found if name.startswith("duplicate")]
    assert counts and counts[0].message.startswith("2 examples")
    assert found["not_images"].severity == "warning"
    assert "class folders" not in found["not_images"].message


def test_numbers_that_stand_for_nothing_and_numbers_beyond_all_others() -> None:
    random = np.random.default_rng(1)
    missing = np.where(random.random(200) < 0.1, -999.0, random.normal(size=200))
    far = random.normal(size=200)
    far[7] = 1e12
    heavy = np.exp(2 * random.normal(size=200))  # a long tail is no mistake
    ages = random.integers(0, 99, 200).astype(float)
    days = np.datetime64("2023-01-01") + random.integers(0, 300, 200)
    late = days.copy()
    late[5] = np.datetime64("2999-12-31")
    hour = np.datetime64("2023-01-01T00:00") + random.integers(0, 60, 200)
    hour[9] += np.timedelta64(60, "D")  # all others are of one hour, and yet it is no mistake
    columns = table(missing=missing, far=far, heavy=heavy, ages=ages, days=days, late=late, y=Y)
    columns |= {"hour": hour.astype(str)}
    pl.DataFrame(columns).write_csv("t.csv")
    found = named("t.csv")
    rows = [f"row {i + 1}" for i in np.flatnonzero(missing == -999)[:30].tolist()]
    assert found["number_for_missing"].where == ("missing", *rows)
    assert f"-999, {int((missing == -999).sum())} times" in found["number_for_missing"].message
    assert found["far_value"].where == ("far", "late", "row 6", "row 8")
    assert "2999-12-31 in row 6" in found["far_value"].message
    for name in ("wine", "breast-cancer", "diabetes"):
        assert not {"number_for_missing", "far_value"} & set(named(name))


def test_names_of_classes() -> None:
    pl.DataFrame(table(y=np.array(["yes", "no", "YES", "no "] * 50))).write_csv("t.csv")
    assert "yes" in str(named("t.csv")["classes_alike"].where)
    assert "classes_alike" not in named("digits")
    pl.DataFrame(table(y=np.array(["-1", "1"] * 100))).write_csv("s.csv")
    assert "classes_alike" not in named("s.csv", {"data.task": "classification"})
    several = np.array(["cat", "dog", "cat;dog", "cow", "cow;dog"] * 40)
    pl.DataFrame(table(y=several)).write_csv("m.csv")
    assert named("m.csv")["several_labels"].mend.endswith("data.task=multilabel.")
    pl.DataFrame(table(y=np.array(["a;b", "c;d"] * 100))).write_csv("n.csv")
    assert "several_labels" not in named("n.csv")


def test_what_a_copy_does_not_mend_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    values = table(y=Y)
    values["a"][3] = np.inf
    pl.DataFrame(values).write_csv("t.csv")
    assert command(["check", "t.csv", "--fix"]) == 2
    assert "Not mended by it: nonfinite inputs" in " ".join(capsys.readouterr().out.split())


def test_data_beside_a_readme() -> None:
    folder = photos("all/photos")
    (folder.parent / "README.txt").write_text("ours", encoding="utf-8")
    for source in ("all", "all.zip"):
        if source.endswith(".zip"):
            with zipfile.ZipFile(source, "w") as archive:
                for path in sorted(Path("all").rglob("*")):
                    archive.write(path)
        spec = fw.check(source).spec
        assert spec is not None and spec.classes == ("cat", "dog")
    # An image beside it says that the folder is a class.
    Image.open("all/photos/cat/0.png").save("all/x.png")
    assert "one_class" in named("all")
    Path("all/x.png").unlink()
    # A copy of the list names files that are there, and one folder of a class is none to look into.
    assert fw.check("all", fix=True).usable
    spec = fw.check("all-clean.csv").spec
    assert spec is not None and spec.num_examples == 60
    photos("train", names=("train/cat", "train/dog"), each=8)
    assert str(fitwell_data.read("train").keys[0]).startswith("train/cat")
    with zipfile.ZipFile("none.zip", "w") as archive:
        archive.writestr("in/clean.csv", "a,b\n1,2\n")
        archive.writestr("in/readme.txt", "x")
        archive.writestr("readme.txt", "x")
    with pytest.raises(DataError) as raised:
        fitwell_data.read("none.zip")
    assert "unpacked" not in str(raised.value)


def test_categories_are_those_of_the_training_rows() -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame(table(town=random.choice(["p", "q", "r"], 200), y=random.normal(size=200)))
    rows = split.fit_rows(fitwell_data.read(frame), {"seed": 0}, 0)
    towns = frame["town"].to_list()
    towns[int(rows.held_out[0])] = "only here"
    data = fitwell_data.read(frame.with_columns(town=pl.Series(towns)))
    rows = split.fit_rows(data, {"seed": 0}, 0)
    unknown = next(i for i in rows.held_out if towns[i] == "only here")
    prepared = fit(data, rows.train)
    again = type(prepared).from_json(json.loads(json.dumps(prepared.to_json())))
    for each in (prepared, again):
        seen = each.inputs(data.inputs)
        assert seen[unknown, 2:].tolist() == [0.0] * 4  # as a missing one
        assert (seen[rows.train][:, 2:].sum(1) == 1).all()


def test_a_store_with_other_bytes_is_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE", "cache")
    folder = photos("photos")
    first = np.array(fitwell_data.read(folder).inputs)
    (path,) = Path("cache").glob("decoded/*/images.u8")
    values = bytearray(path.read_bytes())
    values[:500] = bytes(500)
    path.write_bytes(values)
    assert np.array_equal(fitwell_data.read(folder).inputs, first)


def test_no_training_is_lost_to_a_ledger_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("afile").touch()
    monkeypatch.setenv("FITWELL_CACHE", str(Path("afile").absolute()))
    with pytest.warns(UserWarning, match="not counted"):
        run = fw.fit("wine", settings={"train.epochs": 1}, out="run")
    assert run.status == "done" and run.scores["test"]
    with zipfile.ZipFile("t.zip", "w") as archive:
        archive.writestr("t.csv", "a,y\n1,u\n")
    assert "Name another folder in FITWELL_CACHE" in named("t.zip")["no_cache"].mend


def test_predictions_come_in_the_order_of_what_was_named() -> None:
    folder = photos("photos", each=10)
    run = fw.fit(folder, model="linear", settings={"train.epochs": 1}, out="run")
    np.savez("three.npz", X=np.zeros((2, 3, 16, 16), np.uint8))
    names = [
        row["input"]
        for row in fw.predict(run, ["photos/cat/1.png", "three.npz", "photos/dog/2.png"])
    ]
    assert names == ["photos/cat/1.png", "three.npz row 0", "three.npz row 1", "photos/dog/2.png"]


def test_small_tables_train_in_batches_that_they_have(capsys: pytest.CaptureFixture[str]) -> None:
    for rows in (12, 39):
        frame = pl.DataFrame(table(y=Y))[:rows]
        run = fw.fit(frame, settings={"train.epochs": 1, "data.target": "y"}, out=f"run{rows}")
        assert run.status == "done"
    pl.DataFrame(table(y=Y)).write_csv("t.csv")
    assert command(["fit", "t.csv", "train.epochs=1"]) == 0
    assert "Split: " in " ".join(capsys.readouterr().err.split())


def test_a_row_without_any_value_is_named() -> None:
    pl.DataFrame(table(y=Y)).write_csv("t.csv")
    run = fw.fit("t.csv", settings={"train.epochs": 1}, out="run")
    Path("new.csv").write_text("a,b\n1,2\n,\n3,4\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 row without any value left out: row 2"):
        assert [row["input"] for row in fw.predict(run, "new.csv")] == [
            "new.csv row 1",
            "new.csv row 3",
        ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_output_that_cannot_be_written_is_no_fault_of_the_library() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fitwell", "list", "losses"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("The output could not be written: No space left on device.")
    assert "fault" not in done.stderr


def test_names_that_would_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    photos("photos", names=("cat", "do\x1b[31mg"))
    assert command(["check", "photos"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_an_item_of_a_dataset_that_cannot_be_read() -> None:
    class Broken:
        def __len__(self) -> int:
            return 20

        def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
            if i == 7:
                raise RuntimeError("no such picture")
            return np.zeros(4, np.float32), i % 2

    problem = named(Broken())["unreadable_example"]
    assert "Broken[7] of 20" in problem.message and "no such picture" in problem.message

"""`check --fix`: what the copy holds, what it leaves out and why, and that the source stays as it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import fitwell as fw
from fitwell.cli.main import run as command
from fitwell.data import BadData, check, read


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def photo(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)


def pale(image: Image.Image) -> Image.Image:
    return image.point(lambda v: round(0.9 * v + 5))


def photos(folder: Path, each: int = 10) -> Path:
    for i in range(2 * each):
        path = folder / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(i).save(path)
    return folder


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def test_a_folder_becomes_a_list_of_what_can_be_trained_on(place: Path) -> None:
    folder = photos(place / "photos")
    (folder / "cat" / "zero.png").write_bytes(b"")
    photo(4).save(folder / "dog" / "copy of 4.png")
    photo(6).save(folder / "cat" / "wrong.png")
    pale(photo(8)).save(folder / "dog" / "pale 8.png")
    pale(photo(10)).save(folder / "cat" / "pale wrong.png")
    Image.new("RGB", (64, 64), "red").save(folder / "cat" / "red.png")
    before = state(folder)
    fixed = fw.check(folder, fix=True).fixed
    assert fixed is not None and fixed.path == Path("photos-clean.csv")
    assert fixed.left_out == {
        "unreadable_files": ("cat/zero.png",),
        "blank_image": ("cat/red.png",),
        "conflicting_labels": ("cat/wrong.png", "dog/6.png"),
        "duplicate_examples": ("dog/copy of 4.png",),
        "near_conflicting_labels": ("cat/pale wrong.png", "dog/10.png"),
        "near_duplicate_examples": ("dog/pale 8.png",),
    }
    assert state(folder) == before
    data, problems = check(fixed.path)
    assert data is not None and len(data) == fixed.kept == 20 - 2
    assert data.spec.classes == ("cat", "dog") and data.spec.target == "folder"
    assert {p.name for p in problems} <= {"few_examples", "small_class", "target_guessed"}
    whole = read(folder)
    for i, key in enumerate(data.keys):
        row = list(whole.keys).index(key.removeprefix("../photos/"))
        assert (data.inputs[i] == whole.inputs[row]).all()


def test_of_copies_across_parts_the_one_in_the_test_part_stays(place: Path) -> None:
    for part in ("train", "test"):
        photos(place / "photos" / part, 6)
    for i in range(4, 12):  # others than in train
        photo(100 + i).save(place / "photos" / "test" / ("cat" if i % 2 else "dog") / f"{i}.png")
    fixed = fw.check(place / "photos", fix=True, out="list.csv").fixed
    assert fixed is not None
    assert set(fixed.left_out["duplicate_examples"]) == {
        *("train/dog/0.png", "train/cat/1.png", "train/dog/2.png", "train/cat/3.png"),
    }
    data = read("list.csv")
    assert [int((data.part == p).sum()) for p in ("train", "test")] == [8, 12]


def test_a_table_keeps_its_columns_and_texts(place: Path) -> None:
    lines = [f"{i},0{i % 7},{'ab'[i % 2]},note {i}" for i in range(40)]
    lines[5] = "5,05,,note 5"  # no target
    lines[9] = lines[8]
    lines[11] = lines[10].replace(",a,", ",b,")  # another measurement of the same: it stays
    path = place / "t.csv"
    path.write_text("x,code,y,text\n" + "\n".join(lines) + "\n", encoding="utf-8")
    before = path.read_bytes()
    result = fw.check(path, settings={"data.target": "y"}, fix=True)
    assert result.data is None and result.fixed is not None  # as it is, it cannot be trained on
    assert result.fixed.left_out == {
        "missing_target": ("row 6",),
        "duplicate_examples": ("row 10",),
    }
    assert path.read_bytes() == before
    kept = [line for i, line in enumerate(lines) if i not in (5, 9)]
    assert Path("t-clean.csv").read_text(encoding="utf-8").splitlines() == ["x,code,y,text", *kept]
    assert len(read("t-clean.csv", {"target": "y"})) == result.fixed.kept == 38


def test_parquet_stays_parquet(place: Path) -> None:
    frame = pl.DataFrame({"x": [*range(20), 19], "y": [*([1.5, 2.5] * 10), 2.5]})
    frame.write_parquet(place / "t.parquet")
    fixed = fw.check(place / "t.parquet", settings={"data.target": "y"}, fix=True).fixed
    assert fixed is not None and fixed.path == Path("t-clean.parquet")
    assert pl.read_parquet(fixed.path).equals(frame.head(20))


def test_a_list_of_files_is_cleaned_into_another(place: Path) -> None:
    folder = photos(place / "photos")
    names = sorted(p.relative_to(place).as_posix() for p in folder.rglob("*.png"))
    rows: dict[str, list[Any]] = {"image": [*names, "photos/gone.png", None], "age": []}
    rows["age"] = [i + 0.5 for i in range(len(rows["image"]))]
    rows["who"] = [f"p{i // 2}" for i in range(len(rows["image"]))]
    pl.DataFrame(rows).write_csv(place / "list.csv")
    options = {"data.target": "age", "data.group": "who"}
    fixed = fw.check(place / "list.csv", settings=options, fix=True).fixed
    assert fixed is not None and fixed.kept == 20
    assert fixed.left_out == {"unreadable_files": ("photos/gone.png",), "unnamed_file": ("row 22",)}
    data = read(fixed.path, {"group": "who"})
    assert data.spec.task == "regression" and data.targets[3] == 3.5 and data.spec.target == "age"
    assert data.groups is not None and len(set(data.groups)) == 10


@pytest.mark.parametrize("source", ["digits", "photos.zip", "a.npz"])
def test_what_has_no_list_is_refused(source: str, place: Path) -> None:
    (place / "here" / "photos.zip").write_bytes(b"")
    np.savez(place / "here" / "a.npz", X=np.zeros((9, 2)), y=np.arange(9))
    with pytest.raises(BadData, match="a cleaned copy is written of a folder of images, texts"):
        fw.check(source, fix=True)


def test_nothing_is_written_over_and_nothing_empty(place: Path) -> None:
    folder = photos(place / "photos")
    Path("photos-clean.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(BadData, match=r"photos-clean\.csv is there already"):
        fw.check(folder, fix=True)
    assert Path("photos-clean.csv").read_text(encoding="utf-8") == "mine"
    same = place / "same"
    for i in range(6):
        (same / f"class{i}").mkdir(parents=True)
        photo(0).save(same / f"class{i}" / "a.png")
    with pytest.raises(BadData, match="of the 6 examples of same none would be left"):
        fw.check(same, fix=True)
    assert not Path("same-clean.csv").exists()


def test_the_command_line_says_where_it_is_and_what_is_missing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(place / "photos")
    photo(4).save(folder / "dog" / "copy.png")
    assert command(["check", str(folder), "--fix"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "Cleaned copy of 20 examples: photos-clean.csv; left out: 1 for duplicate examples." in said
    )
    assert command(["check", str(folder), "--fix", "--out", "other.csv", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["fixed"] == {
        "path": "other.csv",
        "kept": 20,
        "left_out": {"duplicate_examples": ["dog/copy.png"]},
    }
    clean = photos(place / "clean")
    assert command(["check", str(clean), "--fix"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing was left out. Not mended by it: few examples." in said


def test_a_decimal_comma_is_kept(place: Path) -> None:
    lines = [f"{i},5;{i % 3},25;{'ab'[i % 2]}" for i in range(20)]
    (place / "t.csv").write_text("x;z;y\n" + "\n".join([*lines, lines[0]]), encoding="utf-8")
    fixed = fw.check(place / "t.csv", fix=True).fixed
    assert fixed is not None and fixed.kept == 20
    assert Path("t-clean.csv").read_text(encoding="utf-8").splitlines() == ["x;z;y", *lines]
    assert read("t-clean.csv").inputs[3].tolist() == [3.5, 0.25]


def test_letters_in_another_encoding_are_copied_as_they_are_read(place: Path) -> None:
    lines = [f"{i},Köln,{'ab'[i % 2]}" for i in range(20)]
    (place / "t.csv").write_bytes(("x,town,y\n" + "\n".join([*lines, lines[3]])).encode("latin-1"))
    found = fw.check(place / "t.csv", fix=True)
    assert "not_utf8" in {problem.name for problem in found.problems}
    assert Path("t-clean.csv").read_text(encoding="utf-8").splitlines() == ["x,town,y", *lines]


def test_class_names_that_look_like_numbers_keep_their_zeros(place: Path) -> None:
    for i in range(60):
        folder = place / "photos" / f"{i % 30:02}"
        folder.mkdir(parents=True, exist_ok=True)
        photo(i).save(folder / f"{i}.png")
    fixed = fw.check(place / "photos", fix=True).fixed
    assert fixed is not None
    assert read(fixed.path).spec.classes == read(place / "photos").spec.classes
    many = pl.DataFrame(
        {
            "file": [f"photos/{i % 30:02}/{i}.png" for i in range(60)],
            "age": [i % 30 for i in range(60)],
        }
    )
    many.write_csv(place / "list.csv")
    assert read(place / "list.csv").spec.task == "classification"
    assert read(place / "list.csv", {"task": "regression"}).targets[7] == 7.0


def test_a_folder_of_batches_has_no_list(place: Path) -> None:
    (place / "cifar").mkdir()
    np.zeros((4, 3073), np.uint8).tofile(place / "cifar" / "data_batch_1.bin")
    with pytest.raises(BadData, match="a cleaned copy is written of a folder of images"):
        fw.check(place / "cifar", fix=True)


def test_a_file_to_write_needs_something_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["check", "digits", "--out", "x.csv"]) == 2
    assert "with --fix only" in capsys.readouterr().err


def test_a_list_with_a_missing_label_is_cleaned(place: Path) -> None:
    names = [f"photos/{'cat' if i % 2 else 'dog'}/{i}.png" for i in range(12)]
    for i, name in enumerate(names):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    labels: list[str | None] = ["dog", "cat"] * 6
    labels[3] = None
    pl.DataFrame({"file": names, "label": labels}).write_csv(place / "list.csv")
    found = fw.check(place / "list.csv", fix=True, out=place / "clean.csv").fixed
    assert found is not None and found.kept == 11
    assert found.left_out == {"missing_target": (names[3],)}
    assert names[3] not in read(place / "clean.csv").keys.tolist()


def test_a_table_of_texts_is_cleaned_row_by_row(place: Path) -> None:
    texts = [f"a sentence of words number {i}" for i in range(30)]
    texts[4], texts[9], texts[12] = texts[3], "...", " "
    labels = ["yes" if i < 15 else "no" for i in range(30)]
    pl.DataFrame({"text": texts, "label": labels}).write_csv(place / "texts.csv")
    found = fw.check(place / "texts.csv", fix=True, out=place / "clean.csv").fixed
    assert found is not None and found.kept == 28
    assert found.left_out == {"empty_text": ("row 13",), "duplicate_examples": ("row 5",)}
    assert read(place / "clean.csv").inputs.tolist() == [
        text for i, text in enumerate(texts) if i not in (4, 12)
    ]


def test_what_a_copy_of_a_table_does_not_mend_is_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{i % 10},{i // 2 % 7},{'xy'[i % 2]}" for i in range(70)]
    (place / "t.csv").write_text("\n".join(["a,b,y", *lines, "3,100,x", "3,100,y"]) + "\n")
    names = {p.name for p in check(place / "t.csv")[1] if p.severity == "warning"}
    assert "conflicting_labels" in names
    assert command(["check", str(place / "t.csv"), "--fix"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing was left out. Not mended by it: conflicting labels" in said
    (place / "t.csv").write_text("\n".join(["a,b,y", *lines, *lines[:3]]) + "\n")
    assert command(["check", str(place / "t.csv"), "--fix", "--out", "u.csv"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "left out: 3 for duplicate examples." in said
    assert "duplicate" not in said.partition("Not mended")[2]

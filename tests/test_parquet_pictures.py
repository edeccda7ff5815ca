"""Pictures kept as bytes in Parquet files, as Hugging Face publishes data sets."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell.errors import DataError

DIGITS: Any = load_digits()
NAMES = [f"digit {i}" for i in range(10)]
TOLD = {"info": {"features": {"label": {"_type": "ClassLabel", "names": NAMES}}}}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray((values * 15).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def records(rows: slice) -> list[Any]:
    return [{"bytes": png(image), "path": None} for image in DIGITS.images[rows]]


def write(path: str, images: list[Any], labels: Any, *, told: bool = True, **more: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame({"image": images, "label": labels, **more})
    frame.write_parquet(path, metadata={"huggingface": json.dumps(TOLD)} if told else {})


def test_records_of_bytes_are_pictures_with_the_published_class_names() -> None:
    write("digits.parquet", records(slice(0, 100)), DIGITS.target[:100])
    data = fitwell_data.read("digits.parquet")
    assert data.spec.kind == "images" and list(data.spec.classes) == NAMES
    assert np.array_equal(data.inputs[:, 0], (DIGITS.images[:100] * 15).astype(np.uint8))
    assert np.array_equal(data.targets, DIGITS.target[:100])
    assert data.keys[:2].tolist() == ["row 1", "row 2"]  # as in every file


def test_plain_bytes_with_a_group_and_a_column_that_is_not_read() -> None:
    cells = [record["bytes"] for record in records(slice(0, 90))]
    labels = [NAMES[i] for i in DIGITS.target[:90]]
    write("raw.parquet", cells, labels, told=False, writer=np.arange(90) % 30, note=["a"] * 90)
    found = fw.check("raw.parquet", settings={"data.group": "writer"})
    assert found.spec is not None and found.spec.input_shape == (1, 8, 8)
    assert found.data is not None and found.data.groups is not None
    assert "columns_ignored" in {problem.name for problem in found.problems}


def test_bytes_that_are_no_pictures_are_refused_as_before() -> None:
    write("blob.parquet", [b"12", b"34", b"56"], ["a", "b", "a"], told=False)
    (problem,) = fw.check("blob.parquet").problems
    assert problem.name == "nested_column"


def test_a_folder_of_parts_is_trained_on_predicted_and_evaluated() -> None:
    write("set/data/train-00000-of-00002.parquet", records(slice(0, 200)), DIGITS.target[:200])
    write("set/data/train-00001-of-00002.parquet", records(slice(200, 400)), DIGITS.target[200:400])
    write("set/data/test-00000-of-00001.parquet", records(slice(400, 600)), DIGITS.target[400:600])
    Path("set/README.md").write_text("a card", encoding="utf-8")
    run = fw.fit("set", model="mlp", settings={"train.epochs": 8})
    assert run.scores["test"]["accuracy"] > 0.75
    assert len(run.predictions["test"].index) == 200
    more = "set/data/test-00000-of-00001.parquet"
    rows = fw.predict(run, more)
    assert len(rows) == 200 and rows[0]["input"] == f"{more} row 1"
    right = np.mean(
        [
            NAMES.index(r["prediction"]) == t
            for r, t in zip(rows, DIGITS.target[400:600], strict=True)
        ]
    )
    assert right == pytest.approx(run.scores["test"]["accuracy"])
    assert len(fw.predict(run, "set")) == 600


def test_parts_in_folders_of_their_own() -> None:
    for part, rows in (("train", slice(0, 60)), ("validation", slice(60, 90))):
        write(f"set/{part}/0000.parquet", records(rows), DIGITS.target[rows])
    data = fitwell_data.read("set")
    assert (data.part == "validation").sum() == 30
    write("set/train/0001.parquet", records(slice(0, 9)), DIGITS.target[:9], writer=[1] * 9)
    (problem,) = fw.check("set").problems
    assert problem.name == "columns_differ" and problem.where == ("writer",)


def test_a_folder_with_images_beside_them_is_a_folder_of_images() -> None:
    write("set/train.parquet", records(slice(0, 60)), DIGITS.target[:60])
    for name in ("even", "odd"):
        Path("set", name).mkdir()
        for i in range(30):
            Image.fromarray((DIGITS.images[i] * 15).astype(np.uint8)).save(f"set/{name}/{i}.png")
    assert fitwell_data.read("set").spec.classes == ("even", "odd")


def test_what_is_wrong_is_named_and_a_copy_without_it_written() -> None:
    cells = records(slice(0, 100))
    labels = DIGITS.target[:100].copy()
    cells[5], labels[5] = cells[4], labels[4]
    cells[7], cells[8] = {"bytes": b"broken", "path": None}, None
    write("bad.parquet", cells, labels)
    before = Path("bad.parquet").read_bytes()
    found = fw.check("bad.parquet", fix=True)
    where = {problem.name: problem.where for problem in found.problems}
    assert where["unreadable_files"] == ("row 8",) and where["missing_image"] == ("row 9",)
    assert found.fixed is not None and found.fixed.kept == 97
    assert found.fixed.left_out["duplicate_examples"] == ("row 6",)
    again = fw.check(found.fixed.path)
    assert again.data is not None and len(again.data) == 97
    assert list(again.data.spec.classes) == NAMES
    assert not {p.name for p in again.problems} & {"unreadable_files", "duplicate_examples"}
    assert Path("bad.parquet").read_bytes() == before


def test_a_broken_file_and_a_model_of_tables() -> None:
    Path("broken.parquet").write_bytes(b"PAR1 is not enough")
    (problem,) = fw.check("broken.parquet").problems
    assert problem.name == "unreadable_file"
    write("digits.parquet", records(slice(0, 60)), DIGITS.target[:60])
    run = fw.fit("wine", settings={"train.epochs": 1})
    with pytest.raises(DataError, match="column"):
        fw.predict(run, "digits.parquet")

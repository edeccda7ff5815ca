"""`check --fix` of pictures with boxes, and single files of COCO as sources."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_problems import named
from made_boxes import (
    IDS,
    WRITERS,
    Scene,
    coco_of,
    draw,
    scenes,
    write_coco,
    write_voc,
    yolo_of,
)
from PIL import Image

import fitwell as fw
from fitwell.cli.main import run
from fitwell.data import BadData, Data, annotated, check, coco, read
from fitwell.data.cleaning import Cleaned
from fitwell.errors import SettingError

FLAWED = (
    ("cat", 5, 5, 20, 20),
    ("cat", 5, 5, 20, 20),  # twice
    ("dog", 30, 30, 30, 40),  # no area
    ("owl", 40, 40, 70, 52),  # sticks out by ten
    ("dog", 80, 80, 90, 90),  # outside
)


def parted(count: int = 24) -> list[Scene]:
    made = [s for part in ("train", "val", "test") for s in scenes(count // 3, part)]
    return [Scene("flawed", (60, 60), FLAWED, "train"), *made]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fixed(source: Path, out: Path, written: str = "", **options: Any) -> Cleaned:
    settings = {f"data.{name}": value for name, value in options.items()}
    found = fw.check(source, settings=settings, fix=True, out=out, format=written).fixed
    assert found is not None and found.path == out
    return found


def boxes_of(data: Data) -> dict[str, Any]:
    """name of the picture -> its part and boxes."""
    rows = zip(data.keys.tolist(), data.part.tolist(), data.targets, strict=True)
    return {key.rpartition("/")[2]: (part, t[~np.isnan(t[:, 0])]) for key, part, t in rows}


@pytest.mark.parametrize(
    ("source_is", "written"),
    [("coco", "coco"), ("voc", "coco"), ("yolo", "coco"), ("coco", "voc"), ("voc", "yolo")],
)
def test_a_fixed_copy_is_what_was_read(tmp_path: Path, source_is: str, written: str) -> None:
    source = WRITERS[source_is](tmp_path / "things", parted())
    before = bytes_of(source)
    data, problems = check(source)
    assert data is not None
    name = "clean.json" if written == "coco" else "clean"
    found = fixed(source, tmp_path / "elsewhere" / name, written)
    assert bytes_of(source) == before
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [name]
    assert found.kept == len(data) == 25
    whole = {p.name: p.where for p in problems}
    assert set(found.left_out) >= {"box_without_area", "box_outside", "duplicate_boxes"}
    assert all(found.left_out[name] == whole[name] for name in found.left_out)
    again, after = check(found.path)
    assert again is not None
    names = {p.name for p in after}
    assert not names & {*found.left_out, "box_clipped", "image_without_annotation"}
    if written == "voc":  # which has no list of them
        assert list(again.spec.classes) == sorted(data.spec.classes)
        numbers = np.array([data.spec.classes.index(name) for name in again.spec.classes])
        there = ~np.isnan(again.targets[..., 0])
        again.targets[there, 0] = numbers[again.targets[there, 0].astype(int)]
    else:
        assert again.spec.classes == data.spec.classes
    first, second = boxes_of(data), boxes_of(again)
    assert first.keys() == second.keys()
    for key, (part, boxes) in first.items():
        assert second[key][0] == part
        np.testing.assert_allclose(second[key][1], boxes, atol=1e-3)
    order = [list(first).index(key) for key in second]
    np.testing.assert_array_equal(again.inputs, data.inputs[order])


@pytest.mark.parametrize("written", ["voc", "yolo"])
def test_a_folder_has_every_picture_and_class_by_its_name(tmp_path: Path, written: str) -> None:
    """Also where two pictures have one name, a class is written oddly, and nothing is in a picture."""
    odd = 'owl: <snowy> & "small"'
    made = [Scene(f"p{i}", (60, 50), ((odd, 5, 5, 20.25, 20.5),)) for i in range(6)]
    source = tmp_path / "things"
    for folder, labels in (("day", made), ("night", [*made[:2], Scene("empty", (60, 50), ())])):
        for scene in labels:
            draw(source / "images" / folder / f"{scene.name}.png", replace(scene, size=(70, 50)))
            place = source / "labels" / folder / f"{scene.name}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(yolo_of(replace(scene, size=(70, 50)), [odd]))
    (source / "classes.txt").write_text(odd + "\n")
    draw(source / "images/night/p0.png", Scene("other", (70, 50), made[0].boxes))
    draw(source / "images/night/p1.png", Scene("another", (70, 50), made[0].boxes))
    out = tmp_path / "clean"
    assert fixed(source, out, written).kept == 9
    again, problems = check(out)
    assert again is not None and again.spec.classes == (odd,) and len(again) == 9
    assert {Path(k).stem for k in again.keys} == {
        *(f"images_{folder}_p{i}" for folder in ("day", "night") for i in range(2)),
        *("p2", "p3", "p4", "p5", "empty"),
    }
    first, _ = check(source)
    assert first is not None and (np.isnan(first.targets[..., 0]).sum() == 1)
    np.testing.assert_allclose(np.sort(again.targets, 0), np.sort(first.targets, 0), atol=1e-3)
    assert {p.name for p in problems if p.severity == "error"} == set()


def test_pictures_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "things", scenes(12))
    pictures = source / "JPEGImages"
    (pictures / "p1.png").write_bytes(b"no image")
    Image.new("RGB", (60, 60)).save(pictures / "lonely.png")  # of which nothing is known
    Image.new("RGB", (77, 66)).save(pictures / "p2.png")  # of another size
    for end, place in ((".png", "JPEGImages"), (".xml", "Annotations")):
        text = (source / place / f"p3{end}").read_bytes()
        (source / place / f"copy{end}").write_bytes(text.replace(b"p3.png", b"copy.png"))
    found = fixed(source, tmp_path / "clean.json")
    assert found.left_out == {
        "unreadable_files": ("JPEGImages/p1.png",),
        "image_without_annotation": ("JPEGImages/lonely.png",),
        "size_differs": ("JPEGImages/p2.png",),
        "duplicate_examples": ("JPEGImages/p3.png",),
    }
    again, problems = check(found.path)
    assert again is not None and len(again) == found.kept == 10
    assert not {p.name for p in problems} & {*found.left_out, "image_without_annotation"}
    assert "things/JPEGImages/copy.png" in again.keys.tolist()


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_told_to_be_background_is_so_in_the_copy(tmp_path: Path, kind: str) -> None:
    source = write_voc(tmp_path / "things", scenes(12))
    Image.new("RGB", (60, 60), "grey").save(source / "JPEGImages" / "lonely.png")
    out = tmp_path / ("clean.json" if kind == "coco" else "clean")
    found = fixed(source, out, "" if kind == "coco" else kind, unannotated="background")
    again, _ = check(found.path)
    assert again is not None and len(again) == found.kept == 13
    (row,) = (i for i, key in enumerate(again.keys) if "lonely" in key)
    assert np.isnan(again.targets[row]).all()


def test_a_box_of_no_category_takes_its_picture_out_of_the_copy(tmp_path: Path) -> None:
    """In the copy it would be taught to be background."""
    source = write_coco(tmp_path / "things", scenes(8))
    path = source / "annotations" / "instances_all.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["category_id"] = 99
    path.write_text(json.dumps(document))
    found = fixed(source, tmp_path / "clean.json")
    assert found.left_out["box_without_class"] == ("images/p0.png",) and found.kept == 7


def test_where_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_voc(tmp_path / "things", parted())
    assert run(["check", "things", "--fix"]) == 0
    assert "Cleaned copy of 25 examples: things-clean.json; left out:" in capsys.readouterr().out
    assert run(["check", "things", "--fix"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert run(["check", "things", "--fix", "--out", "list.csv"]) == 2
    assert "list.csv is none" in capsys.readouterr().err and not Path("list.csv").exists()
    assert run(["check", "things", "--fix", "--format", "yolo"]) == 0
    assert "25 examples: things-clean; left out:" in capsys.readouterr().out
    assert Path("things-clean/data.yaml").read_text().startswith("train: images/train\n")
    for words, said in (
        (["things", "--fix", "--format", "yolo"], "things-clean is there already"),
        (["things", "--fix", "--format", "yollo"], "Did you mean yolo?"),
        (["things", "--format", "yolo"], "with --fix only"),
        (["wine", "--fix", "--format", "voc"], "fix: a cleaned copy is written of"),
    ):
        assert run(["check", *words]) == 2
        assert said in capsys.readouterr().err
    assert run(["check", "things-clean.json", "--fix"]) == 0  # what was cleaned is a source
    first, second = (read(Path(f"things-clean{more}.json")) for more in ("", "-clean"))
    np.testing.assert_array_equal(first.targets, second.targets)
    assert json.loads(Path("things-clean.json").read_text())["images"][0].keys() == {
        *("id", "file_name", "width", "height", "split")
    }
    monkeypatch.chdir(tmp_path.parent)  # its paths are seen from the file
    assert len(read(tmp_path / "things-clean.json")) == 25


def test_nothing_is_written_where_nothing_can_be_read(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "things", scenes(3))
    for path in (source / "JPEGImages").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(BadData):
        fixed(source, tmp_path / "clean.json")
    assert not (tmp_path / "clean.json").exists()


def test_a_file_of_coco_is_a_source(tmp_path: Path) -> None:
    made = scenes(9, "train")
    source = write_coco(tmp_path / "things", made)
    path = source / "annotations" / "instances_train.json"
    whole, single = read(source), read(path)
    assert single.keys.tolist() == whole.keys.tolist()
    np.testing.assert_array_equal(single.targets, whole.targets)
    assert single.name == "instances_train" and set(single.part.tolist()) == {""}
    draw(source / "train" / "more.png", Scene("more", (60, 60), ()))
    assert named(check(source)[1], "image_without_annotation")
    assert "image_without_annotation" not in {p.name for p in check(path)[1]}


def test_pictures_outside_are_read_where_the_user_names_the_file_alone(tmp_path: Path) -> None:
    made = scenes(6)
    for scene in made:
        draw(tmp_path / "pictures" / f"{scene.name}.png", scene)
    document = coco_of(made, IDS)
    for image in document["images"]:
        image["file_name"] = f"../pictures/{image['file_name']}"
    place = tmp_path / "box"
    place.mkdir()
    (place / "a.json").write_text(json.dumps(document))
    data = read(place / "a.json")
    assert data.keys.tolist() == [f"../pictures/{s.name}.png" for s in made]
    draw(place / "inside.png", scenes(1)[0])
    with pytest.raises(
        BadData
    ) as raised:  # of a folder, perhaps an archive, nothing outside is read
        read(place)
    assert len(named(raised.value.problems, "annotation_without_image").where) == 6


def test_what_lies_around_a_file_is_searched_only_where_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scenes(6)
    for scene in made:
        draw(tmp_path / f"{scene.name}.png", scene)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(coco_of(made, IDS)))
    searched: list[Path] = []
    monkeypatch.setattr(
        coco, "pictures_below", lambda folder: searched.append(folder) or below(folder)
    )
    below = annotated.pictures_below
    assert len(read(path)) == 6 and not searched
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "p0.png").rename(tmp_path / "deep" / "down" / "p0.png")
    assert "deep/down/p0.png" in read(path).keys.tolist() and searched == [tmp_path]


def test_other_json_is_no_source(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("{}", "[1, 2]", '{"images": [], "categories": []}', ""):
        path.write_text(text)
        with pytest.raises(BadData, match=r"a\.json is of no kind that fitwell reads"):
            read(path)
    path.write_text('{"images": 3, "annotations": [{"bbox": 1}], "categories": []}')
    with pytest.raises(BadData, match="no list of objects"):
        read(path)
    write_coco(tmp_path / "things", scenes(6))
    source = tmp_path / "things" / "annotations" / "instances_all.json"
    with pytest.raises(SettingError, match=r"data\.target = cat"):
        read(source, {"target": "cat"})

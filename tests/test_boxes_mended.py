"""Annotations in unusual company: lists of some pictures only, entries that stand twice, ids of pandas."""

import inspect
import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_problems import named
from made_boxes import IDS, coco_of, draw, scenes, write_coco, write_voc, write_yolo, xml_of

from fitwell.data import Data, Problem, check
from fitwell.data.box_checks import blank_pictures
from fitwell.data.letterbox import CHUNK, PAD, inner_parts
from fitwell.remedies import network
from fitwell.spec import Spec


def checked(folder: Path) -> tuple[Data, tuple[Problem, ...]]:
    data, problems = check(folder)
    assert data is not None, problems
    return data, problems


def names(problems: tuple[Problem, ...]) -> set[str]:
    return {p.name for p in problems}


def test_a_list_of_some_pictures_keeps_the_parts_of_folders_in_yolo(tmp_path: Path) -> None:
    """train.txt beside images/train and images/val lists 5 of the 6 pictures of train alone."""
    made = scenes(6, "train") + scenes(4, "val", 1)
    write_yolo(tmp_path, made)
    lines = [f"images/train/{s.name}.png" for s in made[:5]]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    data, problems = checked(tmp_path)
    assert Counter(data.part.tolist()) == {"train": 6, "validation": 4}
    assert "in_no_part" not in names(problems)
    for kind in ("images", "labels"):  # in no folder of a part, and in no list
        place, ending = tmp_path / kind, "png" if kind == "images" else "txt"
        (place / "train" / f"train5.{ending}").rename(place / f"train5.{ending}")
    data, problems = checked(tmp_path)
    assert Counter(data.part.tolist()) == {"train": 5, "validation": 4, "": 1}
    assert named(problems, "in_no_part").where == ("images/train5.png",)
    with (tmp_path / "train.txt").open("a") as file:  # what a list says goes before the folder
        file.write("\nimages/val/val0.png\n")
    data, _ = checked(tmp_path)
    assert Counter(data.part.tolist()) == {"train": 6, "validation": 3, "": 1}


def test_a_list_of_some_pictures_keeps_the_parts_of_folders_in_voc(tmp_path: Path) -> None:
    made = scenes(6, "train") + scenes(4, "val", 1)
    for scene in made:
        draw(tmp_path / "JPEGImages" / scene.part / f"{scene.name}.png", scene)
        xml = tmp_path / "Annotations" / f"{scene.name}.xml"
        xml.parent.mkdir(exist_ok=True)
        xml.write_text(xml_of(scene))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(s.name for s in made[:5]))
    data, problems = checked(tmp_path)
    assert Counter(data.part.tolist()) == {"train": 6, "validation": 4}
    assert "in_no_part" not in names(problems)


def test_lists_of_voc_without_folders_of_parts(tmp_path: Path) -> None:
    """Who is in no list is free, and said to be."""
    write_voc(tmp_path, [*scenes(6, "train"), *scenes(2, "", 1)])
    data, problems = checked(tmp_path)
    assert Counter(data.part.tolist()) == {"train": 6, "": 2}
    assert named(problems, "in_no_part").where == ("JPEGImages/p0.png", "JPEGImages/p1.png")


def only(document: dict, label: str) -> dict:
    """A document with the boxes of one class."""
    boxes = [b for b in document["annotations"] if b["category_id"] == IDS[label]]
    return {**document, "annotations": boxes}


def boxes_of(data: Data) -> dict[str, list[list[float]]]:
    """name of a picture -> its boxes with the names of their classes' ids, sorted."""
    out = {}
    for key, rows in zip(data.keys, data.targets, strict=True):
        good = rows[~np.isnan(rows[:, 0])].tolist()
        out[Path(key).name] = sorted([IDS[data.spec.classes[int(r[0])]], *r[1:]] for r in good)
    return out


def test_a_file_a_class_says_the_same_as_one_file(tmp_path: Path) -> None:
    made = scenes(8)
    whole, _ = checked(write_coco(tmp_path / "whole", made))
    parted = write_coco(tmp_path / "parted", made)
    (parted / "annotations" / "instances_all.json").unlink()
    for label in IDS:
        document = only(coco_of(made, IDS), label)
        (parted / "annotations" / f"instances_{label}.json").write_text(json.dumps(document))
    data, problems = checked(parted)
    assert boxes_of(data) == boxes_of(whole)
    assert sum(data.spec.class_counts) == sum(len(s.boxes) for s in made)
    assert len(named(problems, "several_entries").where) == 8
    assert named(problems, "several_entries").severity == "note"
    assert "in_two_parts" not in names(problems)


def test_two_entries_of_a_picture_in_one_file(tmp_path: Path) -> None:
    """An entry of an id of its own for each box, as some tools write them."""
    made = scenes(8)
    whole, _ = checked(write_coco(tmp_path / "whole", made))
    document = coco_of(made, IDS)
    images = {image["id"]: image for image in document["images"]}
    document["images"] = []
    for i, box in enumerate(document["annotations"]):
        document["images"].append({**images[box["image_id"]], "id": i})
        box["image_id"] = i
    single = write_coco(tmp_path / "single", made)
    (single / "annotations" / "instances_all.json").write_text(json.dumps(document))
    data, problems = checked(single)
    assert boxes_of(data) == boxes_of(whole)
    several = {f"images/{s.name}.png" for s in made if len(s.boxes) > 1}
    assert set(named(problems, "several_entries").where) == several


def test_entries_of_one_picture_that_do_not_go_together(tmp_path: Path) -> None:
    """Boxes of a picture that is half unread, or of another size, are not taken for all."""
    made = scenes(8)
    write_coco(tmp_path, made)
    again = coco_of(made[:3], IDS)
    again["annotations"][0]["bbox"] = [1, 2, 3]  # of the first
    again["images"][1]["width"] += 10
    (tmp_path / "annotations" / "instances_more.json").write_text(json.dumps(again))
    data, problems = checked(tmp_path)
    assert {Path(k).stem for k in data.keys} == {s.name for s in made[2:]}
    where = "annotations/instances_more.json annotation 0"
    bad = named(problems, "unreadable_annotations")
    assert set(bad.where) == {where, "images/p1.png"}
    assert "one entry says" in bad.message
    assert len(boxes_of(data)["p2.png"]) == len(made[2].boxes)  # doubles are dropped


def floated(document: dict[str, Any]) -> dict[str, Any]:
    """As pandas writes it once a column had a gap."""
    return {
        kind: [{k: float(v) if k.endswith("id") else v for k, v in row.items()} for row in rows]
        for kind, rows in document.items()
    }


@pytest.mark.parametrize("kinds", [("annotations",), ("images", "annotations", "categories")])
def test_ids_that_are_whole_floats(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    made = scenes(8)
    whole, plain = checked(write_coco(tmp_path, made))
    document = coco_of(made, IDS)
    document |= {kind: floated(document)[kind] for kind in kinds}
    assert isinstance(document["annotations"][0]["id"], float)
    (tmp_path / "annotations" / "instances_all.json").write_text(json.dumps(document))
    data, problems = checked(tmp_path)
    assert boxes_of(data) == boxes_of(whole) and problems == plain
    document["annotations"][2]["category_id"] = 3.5
    (tmp_path / "annotations" / "instances_all.json").write_text(json.dumps(document))
    assert "category_id 3.5" in named(checked(tmp_path)[1], "unknown_class").message


def test_inner_parts_are_those_of_each_picture_alone() -> None:
    rng = np.random.default_rng(0)
    pictures = np.full((2 * CHUNK + 3, 3, 8, 8), PAD, np.uint8)
    for picture in pictures:
        top, left = rng.integers(0, 4, 2)
        picture[:, top : 8 - top, left : 8 - left] = rng.integers(0, 256, 3)[:, None, None]
    parts = list(inner_parts(pictures))
    assert len(parts) == len(pictures)
    for picture, part in zip(pictures, parts, strict=True):
        [alone] = inner_parts(picture[None])
        assert np.array_equal(part, alone) and part.base is not None


def test_looking_for_blank_pictures_takes_little_memory() -> None:
    """Of 59 MB of pictures; numpy tells tracemalloc what it takes."""
    count = 20 * CHUNK
    pictures = np.zeros((count, 3, 62, 62), np.uint8)
    spec = Spec("boxes", "detection", (3, 62, 62), ("a",), num_examples=count)
    targets = np.full((count, 1, 5), np.nan, np.float32)
    keys, part = np.arange(count).astype(str), np.full(count, "")
    data = Data("x", spec, pictures, targets, keys, part, (), "")
    tracemalloc.start()
    [problem] = blank_pictures(data, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(problem.where) == count
    assert peak < pictures.nbytes / 4


def test_summaries_of_remedies_are_one_line() -> None:
    """The catalogue prints the first line of what a remedy says."""
    remedies = [
        f for _, f in inspect.getmembers(network, inspect.isfunction) if "Use: " in str(f.__doc__)
    ]
    assert network.other_family in remedies
    for remedy in remedies:
        assert inspect.cleandoc(str(remedy.__doc__)).split("\n")[1] == "", remedy.__name__

"""Each flaw of pictures and boxes is found, named with its place, and nothing is left out in silence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_problems import named
from hypothesis import given
from hypothesis import strategies as st
from made_boxes import (
    IDS,
    WRITERS,
    Box,
    Scene,
    coco_of,
    draw,
    scenes,
    write_coco,
    write_voc,
    write_yolo,
    xml_of,
    yolo_of,
)
from PIL import Image

from fitwell.cli.main import run
from fitwell.data import BadData, Data, Problem, check, read
from fitwell.data.annotated import MOST_TEXT_BYTES, Picture
from fitwell.data.box_flaws import Flaws, sound
from fitwell.data.near import near_duplicates
from fitwell.errors import SettingError


def checked(folder: Path, **options: Any) -> tuple[Data, tuple[Problem, ...]]:
    data, problems = check(folder, options)
    assert data is not None, problems
    return data, problems


def with_boxes(*boxes: Box) -> list[Scene]:
    """Sound pictures, and one of 100x80 with these boxes, called odd."""
    return [*scenes(12), Scene("odd", (100, 80), boxes)]


def boxes_in(data: Data, name: str) -> np.ndarray:
    rows = data.targets[[Path(k).stem for k in data.keys].index(name)]
    return rows[~np.isnan(rows[:, 0])]


@pytest.mark.parametrize("kind", WRITERS)
def test_boxes_without_area_outside_and_cut(tmp_path: Path, kind: str) -> None:
    made = with_boxes(
        ("cat", 10, 10, 40, 40),
        ("cat", 50, 20, 50, 20),  # no area
        ("dog", 60, 30, 50, 20),  # negative sides
        ("dog", 110, 10, 130, 20),  # outside
        ("dog", 90, 70, 120, 85),  # cut
        ("owl", 70, 40, 100.5, 60),  # over the edge by less than a pixel
    )
    data, problems = checked(WRITERS[kind](tmp_path, made), image_size=100)
    left = boxes_in(data, "odd")
    assert len(left) == 3
    np.testing.assert_allclose(left[1, 1:], [90, 70 + 10, 100, 80 + 10], atol=0.01)
    flat, out, cut = (
        named(problems, n) for n in ("box_without_area", "box_outside", "box_clipped")
    )
    assert (len(flat.where), len(out.where), len(cut.where)) == (2, 1, 2)
    first = next(row for row in (*flat.where, *out.where) if "odd" in row or "annotation" in row)
    assert any(word in first for word in ("odd.xml object", "annotation", "odd.txt line"))
    assert {flat.severity, out.severity, cut.severity} == {"warning"}
    # What is annotated is counted, and what was left out is in the problems.
    known = int((~np.isnan(data.targets[..., 0])).sum())
    assert sum(data.spec.class_counts) == known + len(flat.where) + len(out.where)


def test_over_the_edge_by_a_pixel_is_a_note(tmp_path: Path) -> None:
    made = with_boxes(("cat", 10, 10, 101, 40))
    _, problems = checked(write_voc(tmp_path, made))
    assert named(problems, "box_clipped").severity == "note"
    made = with_boxes(("cat", 10, 10, 100, 40))
    _, problems = checked(write_voc(tmp_path / "b", made))
    assert "box_clipped" not in {p.name for p in problems}


numbers = st.floats(-50, 150, allow_nan=False).map(lambda v: round(v, 2))


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=8))
def test_every_box_is_used_or_said_to_be_left_out(corners: list[tuple[float, ...]]) -> None:
    array = np.array(corners, np.float64).reshape(-1, 4)
    rows = tuple(f"row {i}" for i in range(len(array)))
    picture = Picture(Path("a"), "a", ("cat",) * len(array), array, rows)
    flaws = Flaws()
    used, inside = sound(picture, (90, 120), flaws)
    said = {*flaws.no_area, *flaws.outside, *flaws.twice}
    assert said | {rows[i] for i in used} == set(rows)
    assert not said & {rows[i] for i in used}
    assert (inside[:, 2:] > inside[:, :2]).all()
    assert (inside >= 0).all() and (inside <= [120, 90, 120, 90]).all()
    for i, box in zip(used, inside, strict=True):  # a naive twin
        x1, y1, x2, y2 = corners[i]
        assert box.tolist() == [max(0, x1), max(0, y1), min(120, x2), min(90, y2)]


def test_the_same_box_twice_almost_and_of_two_classes(tmp_path: Path) -> None:
    made = with_boxes(
        ("cat", 10, 10, 40, 40),
        ("cat", 10, 10, 40, 40),
        ("dog", 50, 10, 90, 50),
        ("dog", 50.5, 10, 90, 50),
        ("owl", 10, 55, 40, 75),
        ("dog", 10, 55, 40, 75),
    )
    data, problems = checked(write_voc(tmp_path, made))
    assert len(boxes_in(data, "odd")) == 5
    for name, first in (
        ("duplicate_boxes", 1),
        ("near_duplicate_boxes", 3),
        ("conflicting_boxes", 5),
    ):
        where = [f"Annotations/odd.xml object {i}" for i in (first + 1, first)]
        assert list(named(problems, name).where) == where


def test_tiny_boxes_by_the_size_that_is_asked_for(tmp_path: Path) -> None:
    write_voc(tmp_path, with_boxes(("cat", 10, 10, 14, 40)))
    _, problems = checked(tmp_path, image_size=40)
    assert named(problems, "tiny_boxes").where == ("Annotations/odd.xml object 1",)
    _, problems = checked(tmp_path, image_size=100)
    assert "tiny_boxes" not in {p.name for p in problems}


@pytest.mark.parametrize("kind", WRITERS)
def test_without_annotation_without_image_and_without_boxes(tmp_path: Path, kind: str) -> None:
    """A picture that nothing is said of is left out; one that is said to be empty is background."""
    made = [*scenes(8), Scene("empty", (60, 60), ()), Scene("lost", (60, 60), scenes(1)[0].boxes)]
    folder = WRITERS[kind](tmp_path, made)
    pictures = next(p for p in folder.rglob("lost.png")).parent
    (pictures / "lost.png").unlink()
    draw(pictures / "bare.png", Scene("bare", (60, 60), ()))
    data, problems = checked(folder)
    assert len(data) == 9
    assert not len(boxes_in(data, "empty"))
    key = (pictures / "bare.png").relative_to(folder).as_posix()
    bare = named(problems, "image_without_annotation")
    assert bare.where == (key,) and bare.severity == "warning" and "nothing in it" in bare.mend
    assert key not in data.keys
    assert len(named(problems, "annotation_without_image").where) == 1
    assert "lost" in named(problems, "annotation_without_image").message
    empty = named(problems, "images_without_boxes")
    assert empty.severity == "note" and "empty.png" in empty.where[0]


@pytest.mark.parametrize("kind", WRITERS)
def test_pictures_without_annotation_are_background_where_that_is_told(
    tmp_path: Path, kind: str
) -> None:
    made = scenes(12)
    WRITERS[kind](tmp_path, made)
    places = {"voc": "JPEGImages", "coco": "images", "yolo": "images"}
    bare = f"{places[kind]}/bare.png"
    draw(tmp_path / bare, Scene("bare", (80, 60), ()))
    data, problems = checked(tmp_path)
    left = named(problems, "image_without_annotation")
    assert left.where == (bare,) and bare not in data.keys
    assert "data.unannotated=background" in left.mend
    told, problems = checked(tmp_path, unannotated="background")
    assert named(problems, "background_images").where == (bare,)
    assert not {p.name for p in problems} & {"image_without_annotation", "images_without_boxes"}
    assert set(told.keys) == {*data.keys, bare} and not len(boxes_in(told, "bare"))
    rows = [told.keys.tolist().index(key) for key in data.keys]
    np.testing.assert_array_equal(told.targets[rows], data.targets)
    with pytest.raises(SettingError, match=r"data\.unannotated = background: is for"):
        read("digits", {"unannotated": "background"})


def test_a_picture_that_may_be_annotated_is_no_background(tmp_path: Path) -> None:
    """An annotation that two pictures may be meant by is of one of them."""
    voc = write_voc(tmp_path / "voc", scenes(8))
    text = (voc / "Annotations" / "p0.xml").read_text().replace("p0.png", "")
    (voc / "Annotations" / "p0.xml").write_text(text)
    shutil.copy(voc / "JPEGImages" / "p0.png", voc / "JPEGImages" / "p0.bmp")
    coco = write_coco(tmp_path / "coco", scenes(8))
    for place in ("a", "b"):
        (coco / place).mkdir()
        shutil.copy(coco / "images" / "p0.png", coco / place)
    (coco / "images" / "p0.png").unlink()
    wanted = {voc: ["JPEGImages/p0.bmp", "JPEGImages/p0.png"], coco: ["a/p0.png", "b/p0.png"]}
    for folder, places in wanted.items():
        data, problems = checked(folder, unannotated="background")
        assert len(data) == 7
        assert sorted(named(problems, "image_without_annotation").where) == places


@pytest.mark.parametrize("kind", WRITERS)
def test_unreadable_pictures(tmp_path: Path, kind: str) -> None:
    folder = WRITERS[kind](tmp_path, scenes(8))
    broken = next(folder.rglob("p3.png"))
    broken.write_bytes(broken.read_bytes()[:200])
    data, problems = checked(folder)
    assert len(data) == 7
    assert "p3.png" in named(problems, "unreadable_files").where[0]
    for path in folder.rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(BadData, match="no picture that can be read"):
        read(folder)


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_a_picture_of_another_size_than_its_annotation_says(tmp_path: Path, kind: str) -> None:
    folder = WRITERS[kind](tmp_path, scenes(8))
    path = next(folder.rglob("p2.png"))
    Image.open(path).resize((31, 17)).save(path)
    data, problems = checked(folder)
    differs = named(problems, "size_differs")
    assert differs.where == (path.relative_to(folder).as_posix(),)
    assert "31x17" in differs.message and len(data) == 7


def test_a_photograph_on_its_side(tmp_path: Path) -> None:
    """Annotated as stored, shown upright by its EXIF: the boxes would lie elsewhere."""
    write_voc(tmp_path, scenes(8))
    path = tmp_path / "JPEGImages" / "p2.png"
    image = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path.with_suffix(".jpg"), exif=exif)
    path.unlink()
    _, problems = checked(tmp_path)
    assert image.width != image.height
    assert "on its side" in named(problems, "size_differs").message


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{("&" + a + ";") * 10}">'
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><annotation><filename>&i;</filename></annotation>"
)
OUTSIDE = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<annotation><object><name>&x;</name></object></annotation>"
)


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, "<!DOCTYPE annotation><annotation/>"])
def test_xml_that_defines_anything_is_refused_by_name(tmp_path: Path, text: str) -> None:
    write_voc(tmp_path, scenes(8))
    (tmp_path / "Annotations" / "p4.xml").write_text(text)
    data, problems = checked(tmp_path)
    unsafe = named(problems, "unsafe_xml")
    assert unsafe.where == ("Annotations/p4.xml",) and unsafe.severity == "error"
    assert "JPEGImages/p4.png" not in data.keys and "root:" not in str(problems)
    with pytest.raises(BadData, match="refused and not expanded"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda text: text[:-20], "no element|mismatched|unclosed"),
        (lambda text: text.replace("annotation>", "annotations>"), "not <annotation>"),
        (lambda text: text.replace("<name>cat</name>", ""), "object 1 has no name"),
        (lambda text: text.replace("xmin>", "left>"), "object 1 has no number in xmin"),
        (lambda text: text.replace("<ymax>", "<ymax>nan"), "no number in ymax"),
        (lambda text: "<a>" * 100_000, ""),
        (
            lambda text: "<annotation>" + " " * MOST_TEXT_BYTES + "</annotation>",
            "larger than 16 MiB",
        ),
    ],
)
def test_annotations_that_cannot_be_read(
    tmp_path: Path, spoil: Callable[[str], str], why: str
) -> None:
    """Their pictures are left out whole: what stays unread would be taught as background."""
    write_voc(tmp_path, scenes(8))
    path = tmp_path / "Annotations" / "p5.xml"
    path.write_text(spoil(path.read_text()))
    data, problems = checked(tmp_path)
    bad = named(problems, "unreadable_annotations")
    assert bad.where == ("Annotations/p5.xml",) and bad.severity == "warning"
    assert "JPEGImages/p5.png" not in data.keys and len(data) == 7
    assert any(word in bad.message for word in why.split("|"))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("0 0.5 0.5 0.1", "line 2 has 4 numbers"),
        ("0 .1 .1 .2 .1 .2 .2 .1 .2", "outlines are not read"),
        ("cat 0.5 0.5 0.1 0.1", "holds cat"),
        ("0.5 0.5 0.5 0.1 0.1", "line 2 holds 0.5"),
        ("0 nan 0.5 0.1 0.1", "line 2 holds"),
    ],
)
def test_rows_of_yolo_that_cannot_be_read(tmp_path: Path, row: str, why: str) -> None:
    write_yolo(tmp_path, scenes(8))
    (tmp_path / "labels" / "p0.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{row}\n")
    data, problems = checked(tmp_path)
    bad = named(problems, "unreadable_annotations")
    assert bad.where == ("labels/p0.txt",) and why in bad.message
    assert len(data) == 7


def test_unknown_classes_of_yolo(tmp_path: Path) -> None:
    write_yolo(tmp_path, scenes(8))
    (tmp_path / "labels" / "p0.txt").write_text("3 0.5 0.5 0.1 0.1\n-1 0.5 0.5 0.1 0.1\n")
    _, problems = checked(tmp_path)
    unknown = named(problems, "unknown_class")
    assert unknown.where == ("labels/p0.txt line 1", "labels/p0.txt line 2")
    assert unknown.severity == "error" and "begin at 1" not in unknown.mend
    for path in (tmp_path / "labels").iterdir():
        path.write_text("".join(f"{number} 0.5 0.5 0.1 0.1\n" for number in (1, 2, 3)))
    assert "begin at 1" in named(checked(tmp_path)[1], "unknown_class").mend
    (tmp_path / "data.yaml").unlink()
    data, problems = checked(tmp_path)
    assert data.spec.classes == ("1", "2", "3")
    assert named(problems, "no_class_names").where == ("1", "2", "3")


def spoilt(folder: Path, change: Callable[[dict], None]) -> Path:
    """A folder of COCO whose only file was changed."""
    write_coco(folder, scenes(8))
    path = folder / "annotations" / "instances_all.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return folder


def test_coco_names_what_is_not_there(tmp_path: Path) -> None:
    def change(document: dict) -> None:
        document["annotations"][0]["category_id"] = 99
        document["annotations"][1]["image_id"] = 999
        document["images"].append({"id": 5, "file_name": "gone.png"})

    _, problems = checked(spoilt(tmp_path, change))
    where = "annotations/instances_all.json"
    unknown = named(problems, "unknown_class")
    assert unknown.where == (f"{where} annotation 0",) and unknown.severity == "error"
    assert "category_id 99" in unknown.message
    lost = [w for p in problems if p.name == "annotation_without_image" for w in p.where]
    assert lost == [f"{where} image 5 (gone.png)", f"{where} annotation 1"]


def test_ids_that_stand_twice_in_coco(tmp_path: Path) -> None:
    def change(document: dict) -> None:
        document["annotations"][3]["id"] = document["annotations"][2]["id"]
        document["images"][7]["id"] = document["images"][6]["id"]
        document["categories"].append({"id": 3, "name": "cat"})

    data, problems = checked(spoilt(tmp_path, change))
    where = "annotations/instances_all.json"
    ids = named(problems, "duplicate_ids")
    assert set(ids.where) == {f"{where} category 3", f"{where} image 106", f"{where} annotation 2"}
    assert len(data) == 6  # of which of the two the boxes are is not known

    def rename(document: dict) -> None:
        document["categories"].append({"id": 3, "name": "lion"})

    _, problems = checked(spoilt(tmp_path / "b", rename))
    assert named(problems, "unknown_class").where == (f"{where} category 3",)


def test_crowds_and_broken_boxes_of_coco(tmp_path: Path) -> None:
    def change(document: dict) -> None:
        document["annotations"][0]["iscrowd"] = 1
        document["annotations"][2]["bbox"] = [1, 2, 3]

    data, problems = checked(spoilt(tmp_path, change))
    where = "annotations/instances_all.json"
    assert named(problems, "crowd_boxes").where == (f"{where} annotation 0",)
    assert named(problems, "unreadable_annotations").where == (f"{where} annotation 2",)
    assert len(data) == 7


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [], "annotations": [',
        '{"images": 1, "annotations": [], "categories": []}',
        '{"images": [{"id": [1], "file_name": "a"}], "annotations": [], "categories": []}',
        '["images", "annotations", "categories"]',
        '{"images": [], "annotations": [], "categories": ' + "[" * 200_000,
    ],
)
def test_a_broken_file_of_coco_is_an_error(tmp_path: Path, text: str) -> None:
    write_coco(tmp_path, scenes(8, "train") + scenes(4, "val"))
    (tmp_path / "annotations" / "instances_val.json").write_text(
        text if '"categories"' in text else text + '"categories"'
    )
    data, problems = checked(tmp_path)
    assert named(problems, "broken_annotations").where == ("annotations/instances_val.json",)
    assert len(data) == 8
    with pytest.raises(BadData, match="cannot be read"):
        read(tmp_path)


def test_a_file_of_coco_that_is_far_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco(tmp_path, scenes(8))
    monkeypatch.setattr("fitwell.data.coco.MOST_JSON_BYTES", 100)
    with pytest.raises(BadData, match="larger than 100 bytes"):
        read(tmp_path)


def test_a_list_of_classes_is_no_file_of_boxes(tmp_path: Path) -> None:
    """As iNaturalist has it: COCO's keys without boxes, beside class folders."""
    made = [Scene(f"{label}/{i}", (40, 40), ()) for label in ("cat", "dog") for i in range(6)]
    for scene in made:
        draw(tmp_path / f"{scene.name}.png", scene)
    (tmp_path / "train.json").write_text(json.dumps(coco_of(made, IDS)))
    data, _ = checked(tmp_path)
    assert data.spec.kind == "images"


def test_a_picture_in_two_parts_is_in_the_later(tmp_path: Path) -> None:
    made = scenes(8, "train") + scenes(4, "test", 1)
    write_voc(tmp_path / "voc", made)
    with (tmp_path / "voc" / "ImageSets" / "Main" / "test.txt").open("a") as file:
        file.write("train0\nnowhere\n")
    data, problems = checked(tmp_path / "voc")
    assert named(problems, "in_two_parts").where == ("JPEGImages/train0.png",)
    assert named(problems, "listed_but_absent").where == ("nowhere",)
    assert (data.part == "test").sum() == 5 and (data.part == "train").sum() == 7
    write_coco(tmp_path / "coco", made)
    twice = coco_of([*[s for s in made if s.part == "test"], made[0]], IDS)
    (tmp_path / "coco" / "annotations" / "instances_test.json").write_text(json.dumps(twice))
    data, problems = checked(tmp_path / "coco")
    assert named(problems, "in_two_parts").where == ("train/train0.png",)
    assert (data.part == "test").sum() == 5 and (data.part == "train").sum() == 7


def test_classes_in_one_part_only(tmp_path: Path) -> None:
    cat, owl = ("cat", 5, 5, 20, 20), ("owl", 30, 30, 50, 50)
    train = [Scene(f"a{i}", (60, 60), (cat,), "train") for i in range(6)]
    test = [Scene(f"b{i}", (60, 60), (cat, owl), "test") for i in range(6)]
    _, problems = checked(write_voc(tmp_path / "new", train + test))
    differ = named(problems, "labels_differ")
    assert differ.where == ("owl",) and differ.severity == "error"  # it cannot be learnt
    train = [Scene(s.name, s.size, (cat, owl), "train") for s in train]
    test = [Scene(s.name, s.size, (cat,), "test") for s in test]
    _, problems = checked(write_voc(tmp_path / "less", train + test))
    assert named(problems, "labels_differ").severity == "warning"  # it is only not judged


def test_classes_as_a_whole(tmp_path: Path) -> None:
    cats = tuple(("cat", 2 + 9 * i, 2, 9 + 9 * i, 9) for i in range(6))
    made = [Scene(f"p{i}", (60, 60), cats) for i in range(12)]
    made += [Scene(f"q{i}", (60, 60), (("Cat", 5, 5, 20, 20),)) for i in range(3)]
    data, problems = checked(write_yolo_named(tmp_path, made, ["cat", "Cat", "unused"]))
    assert data.spec.class_counts == (72, 3, 0)
    assert named(problems, "class_imbalance").where == ("cat", "Cat")
    assert named(problems, "class_imbalance").severity == "note"
    assert named(problems, "classes_alike").where == ("cat", "Cat")
    assert named(problems, "empty_class").where == ("unused",)
    assert named(problems, "small_class").where == ("Cat",)
    assert named(problems, "fewer_than_folds").where == ("Cat",)


def write_yolo_named(root: Path, made: list[Scene], names: list[str]) -> Path:
    (root / "labels").mkdir()
    for scene in made:
        draw(root / "images" / f"{scene.name}.png", scene)
        (root / "labels" / f"{scene.name}.txt").write_text(yolo_of(scene, names))
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


def test_no_boxes_at_all_is_an_error(tmp_path: Path) -> None:
    made = [Scene(f"p{i}", (60, 60), ()) for i in range(6)]
    _, problems = checked(write_voc(tmp_path, made))
    assert named(problems, "no_boxes").severity == "error"


def test_copies_and_almost_copies(tmp_path: Path) -> None:
    """Boxes in another order, or of a smaller copy, are the same."""
    made = [Scene(f"p{i}", (360, 180), scenes(12)[i].boxes) for i in range(12)]
    write_voc(tmp_path, made)
    pictures, xml = tmp_path / "JPEGImages", tmp_path / "Annotations"
    for old, new in (("p2", "same"), ("p5", "other")):
        shutil.copy(pictures / f"{old}.png", pictures / f"{new}.png")
    again = Scene("same", made[2].size, made[2].boxes[::-1])
    (xml / "same.xml").write_text(xml_of(again))
    (xml / "other.xml").write_text(xml_of(Scene("other", made[5].size, made[5].boxes[:1])))
    small = Image.open(pictures / "p8.png").resize((270, 135), Image.Resampling.BILINEAR)
    small.save(pictures / "small.jpg", quality=92)
    boxes = tuple(
        (b, 0.75 * x1, 0.75 * y1, 0.75 * x2, 0.75 * y2) for b, x1, y1, x2, y2 in made[8].boxes
    )
    text = xml_of(Scene("small", (270, 135), boxes)).replace("small.png", "small.jpg")
    (xml / "small.xml").write_text(text)
    flat = Scene("flat", (360, 180), (("cat", 5, 5, 20, 20),))
    Image.new("RGB", flat.size, (9, 9, 9)).save(pictures / "flat.png")
    (xml / "flat.xml").write_text(xml_of(flat))
    data, problems = checked(tmp_path, image_size=96)
    assert len(data) == 16
    where = {
        p.name: {Path(w).stem for w in p.where}
        for p in problems
        if "duplicate" in p.name or "conflicting" in p.name
    }
    together = where.pop("duplicate_across_split", set()) | where.pop("duplicate_examples", set())
    assert together - {"p5", "other"} == {"p2", "same"}
    assert where.pop("conflicting_labels") == {"p5", "other"}
    near = where.pop("near_duplicate_across_split", set()) | where.pop(
        "near_duplicate_examples", set()
    )
    assert near == {"p8", "small"}
    assert not where
    assert named(problems, "blank_image").where == ("JPEGImages/flat.png",)


def test_the_grey_beside_pictures_makes_none_alike(tmp_path: Path) -> None:
    """Bright pictures of one light, each with another pattern: with the grey they correlate by 0.997."""
    made = [Scene(f"p{i}", (96, 48), scenes(1)[0].boxes) for i in range(8)]
    write_voc(tmp_path, made)
    light = np.linspace(200, 230, 96)[None, :, None]
    for i, scene in enumerate(made):
        pattern = np.random.default_rng(i).normal(0, 4, (48, 96, 3))
        picture = (light + pattern).round().clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "JPEGImages" / f"{scene.name}.png")
    data, problems = checked(tmp_path, image_size=96)
    assert near_duplicates(data.inputs)  # as they are, grey and all
    assert not [p for p in problems if "duplicate" in p.name or "conflicting" in p.name]


def test_exit_codes(tmp_path: Path) -> None:
    """2 only where training would be wrong."""
    write_voc(tmp_path / "cut", with_boxes(("cat", 5, 5, 5, 5), ("cat", 50, 50, 500, 500)))
    assert run(["check", str(tmp_path / "cut")]) == 0
    write_yolo(tmp_path / "unknown", scenes(8))
    (tmp_path / "unknown" / "labels" / "p0.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    assert run(["check", str(tmp_path / "unknown")]) == 2

"""Folders of pictures with boxes: each format says the same, and the boxes lie where the pixels do."""

import json
import shutil
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from data_problems import named
from hypothesis import example, given
from hypothesis import strategies as st
from made_boxes import (
    COLOURS,
    IDS,
    WRITERS,
    Scene,
    coco_of,
    draw,
    scenes,
    write_coco,
    write_voc,
    write_yolo,
    xml_of,
)
from PIL import Image

from fitwell.cli.main import run
from fitwell.data import BadData, Data, check, read, split
from fitwell.data.annotated import Unclear
from fitwell.data.images import decode
from fitwell.data.letterbox import PAD, inner_parts, letterbox, same_boxes
from fitwell.data.yolo_names import names_in
from fitwell.errors import SettingError
from fitwell.spec import Spec


def boxes_of(data: Data, key: str) -> dict[str, list[float]]:
    """class -> corners of the (one) box of it in a picture."""
    rows = data.targets[[Path(k).name for k in data.keys].index(key)]
    rows = rows[~np.isnan(rows[:, 0])]
    assert len(set(rows[:, 0].tolist())) == len(rows)
    return {data.spec.classes[int(row[0])]: row[1:].tolist() for row in rows}


@pytest.mark.parametrize("kind", WRITERS)
def test_boxes_lie_where_the_pixels_do(tmp_path: Path, kind: str) -> None:
    """The extent of each rectangle in the resized picture, against the corners of its box."""
    made = scenes()
    data = read(WRITERS[kind](tmp_path, made), {"image_size": 128})
    assert data.spec.kind == "boxes" and data.spec.task == "detection"
    assert data.inputs.shape == (8, 3, 128, 128) and data.inputs.dtype == np.uint8
    assert data.targets.shape == (8, 3, 5) and data.targets.dtype == np.float32
    looked_at = 0
    for scene in made:
        image = data.inputs[[Path(k).stem for k in data.keys].index(scene.name)].astype(int)
        found = boxes_of(data, f"{scene.name}.png")
        assert found.keys() == {box[0] for box in scene.boxes}
        for label, corners in found.items():
            others = [i for i in range(3) if COLOURS[label][i] == 0]
            own = COLOURS[label].index(255)
            mask = (image[own] > 150) & (image[others] < 110).all(0)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            extent = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(corners, extent, atol=1.01)
            looked_at += 1
    assert looked_at == sum(len(s.boxes) for s in made)


def test_the_formats_say_the_same(tmp_path: Path) -> None:
    made = scenes(5, "train") + scenes(3, "val", 1) + scenes(3, "test", 2)
    read_as = {kind: read(write(tmp_path / kind, made)) for kind, write in WRITERS.items()}
    assert read_as["voc"].spec.classes == ("cat", "dog", "owl")  # sorted
    assert read_as["coco"].spec.classes == ("cat", "owl", "dog")  # by ids 3, 5, 7
    assert read_as["yolo"].spec.classes == ("owl", "dog", "cat")  # by place
    for data in read_as.values():
        counts = Counter(box[0] for scene in made for box in scene.boxes)
        assert dict(zip(data.spec.classes, data.spec.class_counts, strict=True)) == counts
        assert data.spec.input_shape == (3, 320, 320)
        assert Counter(data.part.tolist()) == {"train": 5, "validation": 3, "test": 3}
        assert Spec.from_json(json.loads(json.dumps(data.spec.to_json()))) == data.spec
        for scene in made:
            ours, theirs = (boxes_of(d, f"{scene.name}.png") for d in (data, read_as["voc"]))
            assert ours.keys() == theirs.keys()
            for label in ours:
                np.testing.assert_allclose(ours[label], theirs[label], atol=0.01)


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
)
@example((2000, 300), (70, 11))  # half a pixel
def test_letterbox_keeps_proportions_and_fits(
    size: tuple[int, int], shape: tuple[int, int]
) -> None:
    fit = letterbox(size, shape)
    # In fractions: floats make half a pixel a little more.
    scale = min(Fraction(shape[0], size[0]), Fraction(shape[1], size[1]))
    for whole, inner, limit, start in zip(size, fit.inner, shape, (fit.top, fit.left), strict=True):
        assert 1 <= inner <= limit
        assert abs(inner - whole * scale) <= Fraction(1, 2) or inner == 1
        assert abs((limit - inner) - 2 * start) <= 1  # in the middle
    assert any(inner == limit for inner, limit in zip(fit.inner, shape, strict=True))
    full = fit.boxes(np.array([0.0, 0.0, size[1], size[0]]))
    wanted = [fit.left, fit.top, fit.left + fit.inner[1], fit.top + fit.inner[0]]
    np.testing.assert_allclose(full, wanted)


def test_a_large_photograph_lies_where_its_whole_size_says(tmp_path: Path) -> None:
    """A JPEG decoded at a part of its size has another, rounded, one."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 50, (881, 1001, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.jpg")
    out = decode(tmp_path / "a.jpg", (96, 96), False, "letterbox")
    assert isinstance(out, np.ndarray)
    fit = letterbox((881, 1001), (96, 96))
    grey = (out == PAD).all((0, 2))
    assert np.flatnonzero(~grey).tolist() == list(range(fit.top, fit.top + fit.inner[0]))


def test_a_picture_without_its_grey() -> None:
    whole = np.full((2, 3, 10, 10), PAD, np.uint8)
    whole[0, :, 2:8] = np.arange(180).reshape(3, 6, 10)
    [inner, grey] = inner_parts(whole)
    assert np.array_equal(inner, whole[0, :, 2:8])
    assert np.array_equal(grey, whole[1])  # of a grey picture nothing says where it ends


def test_same_boxes_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    at = rng.uniform(0, 50, (6, 2))
    boxes = np.column_stack([np.arange(6) % 2, at, at + rng.uniform(20, 30, (6, 2))])
    padded = np.concatenate([boxes[rng.permutation(6)], np.full((2, 5), np.nan)])
    assert same_boxes(boxes, padded)
    assert not same_boxes(boxes, padded[1:])
    other = boxes.copy()
    other[3, 0] += 1
    assert not same_boxes(boxes, other)


@pytest.mark.parametrize(
    "text",
    [
        "names: [cat, 'a dog', \"owl\"]",
        "nc: 3\nnames: ['cat', 'a dog', 'owl']  # of them\nroboflow: {a: b}",
        "names:\n- cat\n- a dog # not a cat\n\n- 'owl'\nval: x",
        "names:\n  - cat\n  - a dog\n  - owl",
        "names:\n  0: cat\n  2: owl\n  1: 'a dog'\nnc: 3",
        "names: {0: cat, 1: a dog, 2: owl}",
        "names: [\n  cat,\n  a dog,\n  owl,\n]\nnc: 3",
        'names: &anchor [cat, "a\\x20dog", owl]',
    ],
)
def test_names_of_yaml(text: str) -> None:
    assert names_in(text) == {0: "cat", 1: "a dog", 2: "owl"}


def test_names_of_yaml_with_commas_and_quotes() -> None:
    assert names_in("names: ['a, b', \"it's\", 'it''s not', x's]") == dict(
        enumerate(["a, b", "it's", "it's not", "x's"])
    )
    assert names_in("path: here\nnc: 2") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("names: classes.txt", "classes.txt"),
        ("names: [a, [b, c]]", "no plain name"),
        ("names: [a, b", "expected ',' or ']'"),
        ("names:\n  - a\n  1: b", "expected"),
        ("names: [a, '']", "an empty place is no plain name"),
        ("names: []", "none"),
        ("names:\n  zero: a", "no number"),
        ("names: [a, a]", "twice"),
        ("names:", "none"),
    ],
)
def test_other_yaml_is_refused(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(Unclear, match=why):
        names_in(text)
    write_yolo(tmp_path, scenes(4))
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(BadData, match=r"data\.yaml.*names: \[cat, dog\]"):
        read(tmp_path)


def test_yolo_beside_the_pictures_and_by_lists(tmp_path: Path) -> None:
    """The layout that darknet and CVAT write, with the parts in lists."""
    made = scenes(6)
    for scene in made:
        draw(tmp_path / "obj_train_data" / f"{scene.name}.png", scene)
        (tmp_path / "obj_train_data" / f"{scene.name}.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    (tmp_path / "obj.names").write_text("thing\n")
    for part, own in (("train", made[:4]), ("valid", made[4:])):
        lines = [f"data/obj_train_data/{s.name}.png" for s in own]
        (tmp_path / f"{part}.txt").write_text("\n".join(lines))
    data = read(tmp_path)
    assert data.spec.classes == ("thing",)
    assert Counter(data.part.tolist()) == {"train": 4, "validation": 2}


def test_roboflow_layouts(tmp_path: Path) -> None:
    """A folder a part: of YOLO with images and labels in it, of COCO with the JSON file in it, of VOC
    with XML beside the pictures."""
    made = scenes(4, "train") + scenes(4, "valid", 1)
    for scene in made:
        place = tmp_path / "yolo" / scene.part
        draw(place / "images" / f"{scene.name}.png", scene)
        (place / "labels").mkdir(exist_ok=True)
        (place / "labels" / f"{scene.name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        draw(tmp_path / "voc" / scene.part / f"{scene.name}.png", scene)
        (tmp_path / "voc" / scene.part / f"{scene.name}.xml").write_text(xml_of(scene))
        draw(tmp_path / "coco" / scene.part / f"{scene.name}.png", scene)
    (tmp_path / "yolo" / "data.yaml").write_text("names: [thing]")
    for part in ("train", "valid"):
        own = [scene for scene in made if scene.part == part]
        place = tmp_path / "coco" / part / "_annotations.coco.json"
        place.write_text(json.dumps(coco_of(own, IDS)))
    for kind in ("yolo", "voc", "coco"):
        data = read(tmp_path / kind)
        assert data.spec.kind == "boxes"
        assert Counter(data.part.tolist()) == {"train": 4, "validation": 4}


def test_two_kinds_of_annotations_are_asked_about(tmp_path: Path) -> None:
    made = scenes(6)
    write_voc(tmp_path, made)
    for scene in made:
        draw(tmp_path / "images" / f"{scene.name}.png", scene)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "p0.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(BadData, match=r"data\.annotations=voc or data\.annotations=yolo"):
        read(tmp_path)
    assert named(check(tmp_path)[1], "several_annotations").severity == "error"
    assert read(tmp_path, {"annotations": "voc"}).spec.num_examples == 6
    with pytest.raises(BadData, match=r"data\.annotations = coco: .* only voc and yolo"):
        read(tmp_path, {"annotations": "coco"})


def test_settings_that_do_not_go_with_the_source(tmp_path: Path) -> None:
    write_voc(tmp_path, scenes(6))
    for options, why in (
        ({"task": "classification"}, "detection alone"),
        ({"resize": "squash"}, "fitted in as a whole"),
    ):
        with pytest.raises(SettingError, match=why):
            read(tmp_path, options)
    with pytest.raises(SettingError, match=r"data\.annotations = voc: is for pictures with boxes"):
        read("digits", {"annotations": "voc"})


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("packed", ["zip", "tar"])
def test_archives(tmp_path: Path, kind: str, packed: str) -> None:
    folder = WRITERS[kind](tmp_path / "things", scenes(6))
    path = tmp_path / f"things.{packed}"
    if packed == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(tmp_path))
    else:
        with tarfile.open(path, "w") as archive:
            archive.add(folder, "things")
    data, plain = read(path), read(folder)
    assert data.fingerprint == plain.fingerprint and data.name == "things"
    assert data.keys.tolist() == plain.keys.tolist()


def test_a_model_s_spec_decides(tmp_path: Path) -> None:
    """Size and classes of a model that exists; and a folder of another kind is refused."""
    write_voc(tmp_path / "a", scenes(8))
    spec = read(tmp_path / "a", {"image_size": 64}).spec
    fewer = [Scene(s.name, s.size, s.boxes[:1]) for s in scenes(8)]
    data = read(write_voc(tmp_path / "b", fewer), like=spec)
    assert data.spec.classes == ("cat", "dog", "owl") and data.spec.input_shape == (3, 64, 64)
    new = [Scene(s.name, s.size, (("yak", 1, 1, 20, 20),)) for s in scenes(8)]
    with pytest.raises(BadData, match="of yak, and the model knows cat, dog and owl"):
        read(write_voc(tmp_path / "c", new), like=spec)
    pictures = Spec("images", "classification", (3, 64, 64), ("a", "b"))
    with pytest.raises(BadData, match="holds pictures with boxes, and this model reads images"):
        read(tmp_path / "a", like=pictures)
    (tmp_path / "d" / "cat").mkdir(parents=True)
    shutil.copy(next((tmp_path / "a" / "JPEGImages").iterdir()), tmp_path / "d" / "cat")
    with pytest.raises(BadData, match="reads pictures with boxes"):
        read(tmp_path / "d", like=spec)


def test_parts_are_stratified_by_the_rarest_class(tmp_path: Path) -> None:
    """60 pictures: all with a cat, 12 with an owl, 48 with a dog; each fold and part has its share of
    owls."""
    made = []
    for i in range(60):
        boxes = (("cat", 2, 2, 20, 20), ("dog" if i % 5 else "owl", 30, 30, 50, 50))
        made.append(Scene(f"p{i}", (60, 60), boxes))
    data = read(write_voc(tmp_path, made), {"image_size": 64})
    owls = (data.targets[..., 0] == data.spec.classes.index("owl")).any(1)
    options = {"folds": 4, "test": 0.2}
    rows = split.fit_rows(data, options, 0)
    assert owls[rows.held_out].sum() == round(0.2 * 12) and len(rows.held_out) == 12
    held_out = [split.fold_rows(data, options, fold=f, repeat=0, seed=0).held_out for f in range(4)]
    assert {int(owls[fold].sum()) for fold in held_out} <= {2, 3}
    assert sorted(np.concatenate([*held_out, rows.held_out]).tolist()) == list(range(60))
    assert "rarest class" in split.reason(data, options)


@pytest.mark.parametrize("verb", ["fit", "cv", "improve"])
def test_what_finds_no_boxes_is_refused_before_anything_is_written(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_voc(tmp_path / "things", scenes(8))
    before = sorted(p for p in tmp_path.rglob("*"))
    assert run([verb, "things", "--model", "resnet"]) == 2
    assert "Set model.name=yolo" in capsys.readouterr().err
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_check_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(tmp_path, scenes(8))
    assert run(["check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "8 images with 15 boxes of 3 classes: cat, owl, dog" in said
    assert "rarest class" in " ".join(said.split())
    assert run(["check", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "boxes" and document["spec"]["task"] == "detection"


def test_blood_cells(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """BCCD: as its README counts them, and the two boxes without area that are known."""
    folder = shared / "bccd"
    assert run(["check", str(folder)]) == 0
    assert (
        "364 images with 4,888 boxes of 3 classes: Platelets, RBC, WBC" in capsys.readouterr().out
    )
    data, problems = check(folder)
    assert data is not None
    counts = dict(zip(data.spec.classes, data.spec.class_counts, strict=True))
    assert counts == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    assert Counter(data.part.tolist()) == {"train": 205, "validation": 87, "test": 72}
    assert (~np.isnan(data.targets[..., 0])).sum() == 4886
    flat = named(problems, "box_without_area")
    assert [Path(w.split(".")[0]).name for w in flat.where] == [
        "BloodImage_00338",
        "BloodImage_00343",
    ]
    assert {p.name for p in problems} == {"box_without_area", "own_split", "class_imbalance"}
    # 640x480 into 320x320: half the size, 40 pixels down.
    first = data.targets[data.keys.tolist().index("JPEGImages/BloodImage_00338.jpg")][0]
    assert first.tolist() == [1.0, 453 / 2, 81 / 2 + 40, 555 / 2, 182 / 2 + 40]


@pytest.mark.parametrize("layout", sorted(WRITERS))
def test_pictures_of_one_place_stay_together(tmp_path: Path, layout: str) -> None:
    made = [
        Scene(f"{'street' if i % 3 else 'yard'}{i // 4}_{i}", scene.size, scene.boxes)
        for i, scene in enumerate(scenes(40))
    ]
    place = WRITERS[layout](tmp_path / "cameras", made)
    options = {"pattern": "{group}_{index}", "test": 0.25}
    data = read(place, options)
    assert data.groups is not None and len(set(data.groups.tolist())) == 20
    rows = split.fit_rows(data, options, 0)
    parts = [set(data.groups[r].tolist()) for r in (rows.train, rows.validation, rows.held_out)]
    assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    with pytest.raises(SettingError, match=r"no \{label\}"):
        read(place, {"pattern": "{label}_{index}"})
    with pytest.raises(BadData, match="say no group so"):
        read(place, {"pattern": "{group}-{index}"})
    unclear = WRITERS[layout](tmp_path / "unclear", [replace(made[0], name="a_b_1"), *made[1:]])
    with pytest.raises(BadData, match="in more than one way") as error:
        read(unclear, options)
    assert len(error.value.problems[0].where) == 1

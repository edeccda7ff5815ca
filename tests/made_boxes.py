"""Folders of pictures with rectangles in them, annotated in each of the formats, for tests."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Box = tuple[str, float, float, float, float]  # class, x1, y1, x2, y2 in pixels
COLOURS = {"cat": (255, 0, 0), "dog": (0, 255, 0), "owl": (0, 0, 255)}


@dataclass(frozen=True)
class Scene:
    """A picture called `name`, of (width, height), with the rectangles of its boxes drawn in it."""

    name: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    part: str = ""


def scenes(count: int = 8, part: str = "", seed: int = 0) -> list[Scene]:
    """Pictures of different proportions with a cat, and a dog or an owl in some."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        width, height = 60 + 10 * int(rng.integers(8)), 60 + 10 * int(rng.integers(8))
        boxes: list[Box] = []
        for j, label in enumerate(["cat", "dog", "owl"][: 1 + i % 3]):
            left, top = int(rng.integers(5, width // 2)), 3 + 18 * j
            boxes.append((label, left, top, left + 12 + int(rng.integers(10)), top + 14))
        out.append(Scene(f"{part or 'p'}{i}", (width, height), tuple(boxes), part))
    return out


def draw(path: Path, scene: Scene) -> None:
    """A dark picture of fields, a rectangle of the class's colour for each box; the last is on top."""
    width, height = scene.size
    rng = np.random.default_rng([ord(c) for c in scene.name])
    fields = rng.integers(0, 60, (-(-height // 10), -(-width // 10), 3)).astype(np.uint8)
    picture = fields.repeat(10, 0).repeat(10, 1)[:height, :width]
    for label, x1, y1, x2, y2 in scene.boxes:
        picture[max(0, int(y1)) : max(0, int(y2)), max(0, int(x1)) : max(0, int(x2))] = COLOURS.get(
            label, (255, 255, 255)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def xml_of(scene: Scene, size: tuple[int, int] | None = None, name: str = "") -> str:
    things = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for label, x1, y1, x2, y2 in scene.boxes
    )
    width, height = size or scene.size
    return (
        f"<annotation><filename>{name or scene.name}.png</filename><size><width>{width}</width>"
        f"<height>{height}</height></size>{things}</annotation>"
    )


def write_voc(root: Path, made: list[Scene]) -> Path:
    (root / "Annotations").mkdir(parents=True)
    for scene in made:
        draw(root / "JPEGImages" / f"{scene.name}.png", scene)
        (root / "Annotations" / f"{scene.name}.xml").write_text(xml_of(scene))
    if any(scene.part for scene in made):
        lists = root / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        for part in ("train", "val", "test"):
            names = [scene.name for scene in made if scene.part == part]
            (lists / f"{part}.txt").write_text("\n".join(names) + "\n")
    return root


def coco_of(made: list[Scene], ids: dict[str, int]) -> dict:
    images = [
        {"id": 100 + i, "file_name": f"{s.name}.png", "width": s.size[0], "height": s.size[1]}
        for i, s in enumerate(made)
    ]
    boxes = [
        {
            "image_id": 100 + i,
            "category_id": ids[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": 0,
        }
        for i, s in enumerate(made)
        for label, x1, y1, x2, y2 in s.boxes
    ]
    return {
        "images": images,
        "annotations": [{"id": i, **box} for i, box in enumerate(boxes)],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }


IDS = {"dog": 7, "cat": 3, "owl": 5}


def write_coco(root: Path, made: list[Scene], ids: dict[str, int] | None = None) -> Path:
    (root / "annotations").mkdir(parents=True)
    for part in {scene.part for scene in made}:
        own = [scene for scene in made if scene.part == part]
        for scene in own:
            draw(root / (part or "images") / f"{scene.name}.png", scene)
        name = f"instances_{part or 'all'}.json"
        (root / "annotations" / name).write_text(json.dumps(coco_of(own, ids or IDS)))
    return root


def yolo_of(scene: Scene, names: list[str]) -> str:
    width, height = scene.size
    return "".join(
        f"{names.index(label)} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
        f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
        for label, x1, y1, x2, y2 in scene.boxes
    )


NAMES = ["owl", "dog", "cat"]


def write_yolo(root: Path, made: list[Scene]) -> Path:
    for scene in made:
        draw(root / "images" / scene.part / f"{scene.name}.png", scene)
        label = root / "labels" / scene.part / f"{scene.name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(yolo_of(scene, NAMES))
    (root / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnc: 3\nnames: [owl, 'dog', \"cat\"]  # three\n"
    )
    return root


WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo}

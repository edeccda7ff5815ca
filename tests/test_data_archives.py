"""Archives as sources, and tables that list images."""

import io
import json
import tarfile
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
from fitwell.data.types import BadData


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(i: int) -> bytes:
    pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def members(top: str = "") -> dict[str, bytes]:
    return {f"{top}{'cats' if i % 2 else 'dogs'}/{i}.png": png(i) for i in range(12)}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    kinds: dict[str, Any] = {".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    with tarfile.open(path, kinds.get(path.suffix, "w")) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("top", ["", "photos/", "a/b/"])
def test_an_archive_is_the_folder_in_it(tmp_path: Path, ending: str, top: str) -> None:
    path = packed(tmp_path / f"pets.{ending}", members(top))
    data = fitwell_data.read(str(path))
    assert data.name == "pets" and data.spec.classes == ("cats", "dogs")
    assert sorted(data.keys) == sorted(members())
    row = list(data.keys).index("cats/3.png")
    assert (data.inputs[row] == np.asarray(Image.open(io.BytesIO(png(3)))).transpose(2, 0, 1)).all()


def test_an_archive_is_unpacked_once(tmp_path: Path, cache: Path) -> None:
    path = packed(tmp_path / "pets.zip", members())
    fitwell_data.read(str(path))
    (place,) = (cache / "unpacked").iterdir()
    stamp = (place / "cats" / "1.png").stat().st_mtime_ns
    path.rename(tmp_path / "same.zip")
    assert fitwell_data.read(str(tmp_path / "same.zip")).name == "same"
    assert (place / "cats" / "1.png").stat().st_mtime_ns == stamp
    assert list((cache / "unpacked").iterdir()) == [place]


def test_an_archive_with_parts_keeps_them(tmp_path: Path) -> None:
    files = {f"{part}/{name}": c for part in ("train", "test") for name, c in members().items()}
    data = fitwell_data.read(str(packed(tmp_path / "pets.tar", files)))
    assert set(data.part) == {"train", "test"}


def test_an_archive_of_one_table_is_this_table(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i * 2},{'ab'[i % 2]}" for i in range(20))
    path = packed(tmp_path / "t.zip", {"t.csv": f"x,z,label\n{rows}\n".encode()})
    data = fitwell_data.read(str(path))
    assert data.spec.kind == "table" and len(data) == 20


def test_a_run_on_an_archive_predicts_an_archive(tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", members())
    settings = {"train.epochs": 1, "train.batch_size": 4}
    run = fw.fit(str(path), settings=settings, out=tmp_path / "run")
    said = fw.predict(run, str(path))
    assert sorted(row["input"] for row in said) == sorted(f"{path}/{name}" for name in members())
    again = fw.resume(tmp_path / "run")
    assert again.status == "done"


@pytest.mark.parametrize("ending", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["../evil.png", "cats/../../evil.png", "/tmp/evil.png", "C:/evil.png"]
)
def test_names_that_point_outside_are_refused(tmp_path: Path, ending: str, name: str) -> None:
    path = packed(tmp_path / f"evil.{ending}", {**members(), name: png(0)})
    with pytest.raises(BadData, match="would be written outside of its folder") as error:
        fitwell_data.read(str(path))
    (problem,) = error.value.problems
    assert problem.name == "path_traversal" and name in problem.where
    assert not list(tmp_path.rglob("evil.png")) and not list(tmp_path.rglob("unpacked/*"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_a_name_that_stands_twice_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"photos.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("a/1.png", "b/2.png", "./a/1.png"):
                archive.writestr(name, b"x")
    else:
        (tmp_path / "one").write_bytes(b"x")
        with tarfile.open(path, "w") as archive:
            for name in ("a/1.png", "b/2.png", "./a/1.png"):
                archive.add(tmp_path / "one", name)
    with pytest.raises(BadData, match="1 name more than once") as error:
        fitwell_data.read(str(path), {})
    assert "a/1.png" in error.value.problems[0].where


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_to_elsewhere_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = packed(tmp_path / "evil.tar", members())
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("cats/link.png")
        info.type, info.linkname = kind, "../../etc/passwd"
        archive.addfile(info)
    with pytest.raises(BadData, match="would be written outside of its folder"):
        fitwell_data.read(str(path))


def test_a_bomb_is_refused_unopened(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("cats/0.png", "w", force_zip64=True) as member:
            for _ in range(1100):
                member.write(bytes(1_000_000))
    with pytest.raises(
        BadData, match=r"bomb\.zip has [\d,]+ bytes and would unpack to 1,100,000,000"
    ):
        fitwell_data.read(str(path))
    assert not (cache / "unpacked").exists()


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "cut before a name", "flipped"])
def test_damaged_archives_are_said_to_be(tmp_path: Path, ending: str, damage: str) -> None:
    path = packed(tmp_path / f"pets.{ending}", members())
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[1024 * 5 + 10 if ending == "tar" else len(whole) // 3] ^= 255
    contents = {
        "empty": b"",
        "text": b"no archive",
        "cut": whole[: len(whole) // 2 - 100],
        "cut before a name": whole[: 1024 * 6 if ending == "tar" else -30],
        "flipped": bytes(flipped),
    }
    path.write_bytes(contents[damage])
    with pytest.raises(BadData, match=rf"pets\.{ending} cannot be unpacked"):
        fitwell_data.read(str(path))


def test_an_archive_without_room_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITWELL_CACHE_LIMIT", "0")
    path = packed(tmp_path / "pets.zip", members())
    with pytest.raises(BadData, match=r"cannot be unpacked: 0\.0 GB do not fit into the cache"):
        fitwell_data.read(str(path))


def listing(folder: Path, **columns: list[Any]) -> Path:
    """photos/0.png ... and list.csv beside them."""
    (folder / "photos").mkdir()
    for i in range(24):
        (folder / "photos" / f"{i}.png").write_bytes(png(i))
    paths = [f"photos/{i}.png" for i in range(24)]
    pl.DataFrame({"file": paths, **columns}).write_csv(folder / "list.csv")
    return folder / "list.csv"


def test_a_table_of_paths_and_labels_is_images(tmp_path: Path) -> None:
    path = listing(tmp_path, label=["cat", "dog", "bird"] * 8)
    data = fitwell_data.read(str(path))
    assert data.spec.kind == "images" and data.spec.classes == ("bird", "cat", "dog")
    assert data.spec.input_shape == (3, 8, 8) and data.name == "list"
    for row in (0, 7, 23):
        assert data.keys[row] == f"photos/{row}.png"
        image = np.asarray(Image.open(io.BytesIO(png(row)))).transpose(2, 0, 1)
        assert (data.inputs[row] == image).all()
        assert data.spec.classes[data.targets[row]] == ["cat", "dog", "bird"][row % 3]
    (note,) = [p for p in data.problems if p.name == "target_guessed"]
    assert "label is taken as the target by its name" in note.message


def test_its_parts_groups_and_numbers_are_understood(tmp_path: Path) -> None:
    path = listing(
        tmp_path,
        age=[20 + i / 2 for i in range(24)],
        split=["train"] * 16 + ["val"] * 4 + ["Test"] * 4,
        patient=[f"p{i // 2}" for i in range(24)],
        note=["x"] * 24,
    )
    data = fitwell_data.read(str(path), {"target": "age", "group": "patient"})
    assert data.spec.task == "regression" and data.targets[3] == 21.5
    assert [int((data.part == p).sum()) for p in ("train", "validation", "test")] == [16, 4, 4]
    assert data.groups is not None and len(set(data.groups)) == 12
    (ignored,) = [p for p in data.problems if p.name == "columns_ignored"]
    assert ignored.where == ("note",)


def test_what_a_listing_lacks_is_named(tmp_path: Path) -> None:
    path = listing(tmp_path, label=["cat", "dog"] * 12)
    lines = path.read_text().splitlines()
    lines[3] = "photos/gone.png,cat"
    lines[5] = ",cat"
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "photos" / "9.png").write_bytes(b"")
    data = fitwell_data.read(str(path))
    assert len(data) == 21
    found = {p.name: p for p in data.problems}
    assert found["unnamed_file"].where == ("row 5",)
    assert set(found["unreadable_files"].where) == {"photos/gone.png", "photos/9.png"}
    assert "no such file" in found["unreadable_files"].message


def test_a_listing_of_files_that_are_not_there_is_refused(tmp_path: Path) -> None:
    path = listing(tmp_path, label=["cat", "dog"] * 12)
    path = path.rename(tmp_path / "photos" / "list.csv")
    with pytest.raises(BadData, match=r"such as photos/0\.png, and none of them is in"):
        fitwell_data.read(str(path))


def test_a_missing_label_is_refused_by_file(tmp_path: Path) -> None:
    path = listing(tmp_path, label=["cat", None, *["dog", "cat"] * 11])
    with pytest.raises(BadData, match=r"photos/1\.png"):
        fitwell_data.read(str(path))


def test_check_of_a_listing_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = listing(tmp_path, label=["cat", "dog"] * 12)
    assert command(["check", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "images"

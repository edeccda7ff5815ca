"""The cache: entries whole or not at all, bounded, cleaned; decoded once, by content."""

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fitwell as fw
from fitwell import caching
from fitwell import data as fitwell_data
from fitwell.cli.main import run as command
from fitwell.data import decoded
from fitwell.data.decoded import Way, decode_all
from fitwell.data.types import BadData
from fitwell.errors import SettingError
from fitwell.trials.handover import read_data, write_data

WAY = Way((8, 6), grey=False)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def photos(folder: Path, n: int = 6) -> list[Path]:
    """Noise, which a PNG keeps exactly, in two class folders."""
    files = []
    for i in range(n):
        path = folder / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 6, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        files.append(path)
    return files


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded from now on."""
    seen: list[Path] = []
    decode = decoded.decode

    def noted(path: Path, *rest: object) -> object:
        seen.append(path)
        return decode(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decoded, "decode", noted)
    return seen


def fill(size: int) -> "object":
    return lambda folder: (folder / "content").write_bytes(b"x" * size)


def test_an_entry_is_built_once(cache: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "content").write_text("hello")

    first = caching.entry("decoded", "k", 5, build)
    assert caching.entry("decoded", "k", 5, build) == first == cache / "decoded" / "k"
    assert len(built) == 1 and not built[0].exists()
    assert (first / "content").read_text() == "hello"


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        caching.entry("decoded", "k", 5, build)
    assert list((cache / "decoded").iterdir()) == []


def test_two_that_build_the_same_both_have_it(cache: Path) -> None:
    together = threading.Barrier(2)

    def build(folder: Path) -> None:
        together.wait(timeout=10)
        (folder / "content").write_text("hello")

    places: list[Path] = []
    work = [
        threading.Thread(target=lambda: places.append(caching.entry("decoded", "k", 5, build)))
        for _ in range(2)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert places == [cache / "decoded" / "k"] * 2
    assert [p.name for p in (cache / "decoded").iterdir()] == ["k"]


def test_the_least_recently_used_entry_leaves_first(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITWELL_CACHE_LIMIT", "0.00001")  # 10,000 bytes
    for age, name in enumerate("abc"):
        place = caching.entry("decoded", name, 3000, fill(3000))  # type: ignore[arg-type]
        os.utime(place / caching.USED, (0, 1000 + age))
    monkeypatch.setattr(caching, "_asked_for", set())  # as in a process that comes later
    caching.entry("decoded", "a", 3000, fill(3000))  # type: ignore[arg-type]
    monkeypatch.setattr(caching, "_asked_for", set())
    caching.entry("unpacked", "d", 3000, fill(3000))  # type: ignore[arg-type]
    assert [e.path.name for e in caching.entries()] == ["c", "a", "d"]
    with pytest.raises(caching.NoRoom, match="do not fit into the cache"):
        caching.entry("decoded", "e", 10_001, fill(1))  # type: ignore[arg-type]
    assert len(caching.entries()) == 3  # nothing left in vain
    with pytest.raises(caching.NoRoom):  # what this process reads does not leave
        caching.entry("decoded", "e", 9000, fill(1))  # type: ignore[arg-type]
    assert (cache / "unpacked" / "d").is_dir()


def test_leftovers_of_a_kill_are_taken_away_after_a_day(cache: Path) -> None:
    for name, age in ((".old.1", 2), (".new.1", 0)):
        (cache / "decoded" / name).mkdir(parents=True)
        then = time.time() - age * 24 * 3600
        os.utime(cache / "decoded" / name, (then, then))
    caching.entry("decoded", "k", 1, fill(1))  # type: ignore[arg-type]
    assert sorted(p.name for p in (cache / "decoded").iterdir()) == [".new.1", "k"]


@pytest.mark.parametrize("limit", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE_LIMIT", limit)
    with pytest.raises(
        SettingError, match=f"FITWELL_CACHE_LIMIT = {limit}: must be a number of GB"
    ):
        caching.limit()


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = photos(tmp_path / "photos")
    seen = counting(monkeypatch)
    first = decode_all(files, WAY)
    assert sorted(seen) == sorted(files)
    again = decode_all(files, WAY)
    assert len(seen) == len(files)
    assert isinstance(again.images, np.memmap)
    expected = np.stack([np.asarray(Image.open(f)).transpose(2, 0, 1) for f in files])
    assert (first.images == expected).all() and (again.images == expected).all()
    decode_all(files, Way((4, 4), grey=False))
    decode_all(files, Way((8, 6), grey=True))
    assert len(seen) == 3 * len(files)  # each way of decoding by itself


def test_a_copied_or_touched_folder_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_all(photos(tmp_path / "photos"), WAY)
    seen = counting(monkeypatch)
    copies = photos(tmp_path / "copy")
    decode_all(copies, WAY)
    os.utime(copies[0], (1000, 1000))
    decode_all(copies, WAY)
    assert not seen


def test_a_changed_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = photos(tmp_path / "photos")
    before = decode_all(files, WAY).images.copy()
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(files[2])
    after = decode_all(files, WAY).images
    assert (after[2] == 0).all() and (after[[0, 1, 3, 4, 5]] == before[[0, 1, 3, 4, 5]]).all()


def test_a_file_that_changed_in_nothing_but_its_content_is_seen(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    file = tmp_path / "cat" / "0.bmp"  # as many bytes whatever it shows
    Image.new("RGB", (6, 8), "black").save(file)
    before = file.stat()
    assert (decode_all([file], WAY).images == 0).all()
    Image.new("RGB", (6, 8), "white").save(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert file.stat().st_size == before.st_size
    assert (decode_all([file], WAY).images == 255).all()


def test_files_that_cannot_be_decoded_keep_no_place(tmp_path: Path) -> None:
    files = photos(tmp_path / "photos")
    files[1].write_bytes(files[1].read_bytes()[:60])
    files[4].write_text("no image")
    for _ in range(2):  # decoded, then from the cache
        found = decode_all(files, WAY)
        assert found.images.shape == (4, 3, 8, 6)
        assert sorted(found.failed) == [1, 4] and found.failed[4] == "not an image"


def test_a_damaged_entry_is_made_again(cache: Path, tmp_path: Path) -> None:
    files = photos(tmp_path / "photos")
    whole = decode_all(files, WAY).images.copy()
    (images,) = (cache / "decoded").glob("*/images.u8")
    images.write_bytes(images.read_bytes()[:100])
    assert (decode_all(files, WAY).images == whole).all()
    (manifest,) = (cache / "manifests").glob("*/manifest.json")
    manifest.write_text("{")
    assert (decode_all(files, WAY).images == whole).all()


def test_without_room_images_are_decoded_into_memory_and_that_is_said(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "photos")
    files[3].write_text("no image")
    whole = decode_all(files, WAY).images.copy()
    fw.cache("made")
    monkeypatch.setenv("FITWELL_CACHE_LIMIT", "0")
    found = decode_all(files, WAY)
    assert (found.images == whole).all() and list(found.failed) == [3]
    assert not isinstance(found.images, np.memmap)
    data = fitwell_data.read(str(tmp_path / "photos"))
    (problem,) = [p for p in data.problems if p.name == "not_cached"]
    assert problem.severity == "note" and "do not fit into the cache" in problem.message
    assert not list((cache / "decoded").glob("*"))


def test_a_file_that_changes_while_it_is_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "photos")
    decode = decoded.decode

    def writing(path: Path, *rest: object) -> object:
        if path == files[2]:
            path.write_bytes(path.read_bytes() + b"more")
        return decode(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decoded, "decode", writing)
    with pytest.raises(BadData, match=r"1 file changed while the data was read: .*2\.png"):
        decode_all(files, WAY)


def test_a_machine_that_fails_for_a_while_costs_no_image(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "photos")
    real = Image.open

    def failing(path: Path) -> object:
        if path == files[2]:
            raise OSError(24, "Too many open files")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", failing)
        found = decode_all(files, WAY)
        assert list(found.failed) == [2] and found.problems[0].name == "not_cached"
    assert not list((cache / "decoded").iterdir())
    assert not decode_all(files, WAY).failed


def test_what_workers_were_handed_stays_when_the_cache_is_cleaned(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 12)
    data = fitwell_data.read(str(tmp_path / "photos"))
    handed, later = tmp_path / "handed", tmp_path / "later"
    handed.mkdir(), later.mkdir()
    write_data(data, handed)
    fw.cache("made")
    assert (read_data(handed).inputs == data.inputs).all()
    write_data(data, later)  # the file is gone, its pages are not
    assert (read_data(later).inputs == data.inputs).all()


def test_workers_map_the_cache_itself(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 12)
    data = fitwell_data.read(str(tmp_path / "photos"))
    handed = tmp_path / "handed"
    handed.mkdir()
    write_data(data, handed)
    assert not (handed / "inputs.npy").exists() and (handed / "targets.npy").exists()
    back = read_data(handed)
    assert (back.inputs == data.inputs).all() and back.inputs.dtype == np.uint8
    back.inputs[0] = 0  # a copy of its own: neither the file nor the parent sees it
    assert (fitwell_data.read(str(tmp_path / "photos")).inputs == data.inputs).all()


def test_a_part_of_a_mapped_file_is_handed_over_whole(tmp_path: Path) -> None:
    from dataclasses import replace

    photos(tmp_path / "photos", 12)
    data = fitwell_data.read(str(tmp_path / "photos"))
    part = replace(data, inputs=data.inputs[3:9], targets=data.targets[3:9])
    handed = tmp_path / "handed"
    handed.mkdir()
    write_data(part, handed)
    assert (read_data(handed).inputs == data.inputs[3:9]).all()


def test_the_verb_says_what_is_kept_and_takes_it_away(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(tmp_path / "photos")
    fitwell_data.read(str(tmp_path / "photos"))
    (cache / "weights").mkdir()
    (cache / "weights" / "net.pth").write_bytes(b"x" * 5000)
    (cache / "ledger").mkdir()
    (cache / "ledger" / "a.jsonl").write_text("{}")
    assert command(["cache"]) == 0
    said = capsys.readouterr().out
    assert f"{cache} holds 6." in said and "decoded" in said and "weights" in said
    assert all(len(line) <= 80 for line in said.splitlines()[1:])
    assert command(["cache", "clean", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["kind"] for row in result["removed"]} == {"decoded", "manifests"}
    assert [row["kind"] for row in result["entries"]] == ["weights"]
    assert result["bytes"] == 5000
    assert command(["cache", "clean", "all"]) == 0
    assert "holds 0 bytes" in capsys.readouterr().out
    assert (cache / "ledger" / "a.jsonl").exists()  # no cache, and what trust is built on
    assert command(["cache", "wipe"]) == 2
    assert "clean all" in capsys.readouterr().err
    with pytest.raises(SettingError, match="clean = everything: must be one of: made, all"):
        fw.cache("everything")

"""Named sources and IDX folders: counts, speed, damage, downloads."""

import gzip
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fitwell.data import SOURCES, BadData, check, read
from fitwell.data.cifar import BATCHES
from fitwell.data.duplicates import duplicate_groups
from fitwell.errors import SettingError


def write_idx(path: Path, array: np.ndarray) -> None:
    raw = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    raw += array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def idx_folder(folder: Path, suffix: str = "", sizes: tuple[int, int] = (40, 20)) -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for part, n in zip(("train", "t10k"), sizes, strict=True):
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", rng.integers(0, 256, (n, 7, 9)))
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(n) % 4)
    return folder


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "wine", "diabetes"])
def test_embedded_sources_have_no_problem(name: str) -> None:
    data, problems = check(name)
    assert data is not None
    assert data.name == name
    assert problems == ()
    assert len(data) == len(data.keys) == len(data.part) == data.spec.num_examples
    assert len(set(data.keys.tolist())) == len(data)
    if data.spec.task == "classification":
        assert np.bincount(data.targets).tolist() == list(data.spec.class_counts)


@pytest.mark.parametrize("name", list(SOURCES))
def test_every_source_is_explained(name: str) -> None:
    doc = SOURCES[name].__doc__ or ""
    for section in ("Use:", "Weakness:", "Source:", ">>>"):
        assert section in doc


def test_digits_are_the_images_of_scikit_learn() -> None:
    data = read("digits")
    bunch: Any = load_digits()
    assert data.inputs.shape == (1797, 1, 8, 8)
    np.testing.assert_array_equal(np.round(data.inputs[:, 0] / (255 / 16)), bunch.images)
    np.testing.assert_array_equal(data.targets, bunch.target)


def test_reading_again_gives_the_same_fingerprint_and_a_change_another() -> None:
    a, b = read("wine"), read("wine")
    assert a.fingerprint == b.fingerprint
    assert len(a.fingerprint) == 64
    assert a.fingerprint != read("breast-cancer").fingerprint
    rows = np.arange(10)
    before = a.test_fingerprint(rows)
    b.inputs[11] += 1
    assert b.test_fingerprint(rows) == before
    b.inputs[9] += 1
    assert b.test_fingerprint(rows) != before


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder(tmp_path: Path, suffix: str) -> None:
    data, problems = check(idx_folder(tmp_path / "Mine", suffix))
    assert data is not None
    assert data.name == "mine"
    assert data.inputs.shape == (60, 1, 7, 9)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(data.inputs[:40, 0], rng.integers(0, 256, (40, 7, 9)))
    assert data.targets.tolist() == [i % 4 for i in range(40)] + [i % 4 for i in range(20)]
    assert data.part.tolist() == ["train"] * 40 + ["test"] * 20
    assert data.keys[0] == "train 0"
    assert data.keys[-1] == "t10k 19"
    assert [p.name for p in problems if p.severity != "warning"] == ["own_split"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("keep", [0, 3, 9, 60, -1])
def test_damaged_idx_files_are_named(tmp_path: Path, suffix: str, keep: int) -> None:
    folder = idx_folder(tmp_path, suffix)
    path = folder / f"t10k-images-idx3-ubyte{suffix}"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadData, match=path.name) as error:
        read(folder)
    assert error.value.problems[0].name == "unreadable_file"
    assert error.value.exit_code == 2


def test_idx_folders_that_do_not_fit(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path)
    labels = folder / "train-labels-idx1-ubyte"
    write_idx(labels, np.zeros(39))
    with pytest.raises(BadData, match="holds 40 images but train-labels"):
        read(folder)
    labels.unlink()
    with pytest.raises(BadData, match=r"has no labels file.*Add train-labels-idx1-ubyte"):
        read(folder)
    labels.write_bytes(b"PK\x03\x04" * 10)
    with pytest.raises(BadData, match="not an IDX file"):
        read(folder)


def test_idx_labels_that_differ_between_train_and_test(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path)
    write_idx(folder / "t10k-labels-idx1-ubyte", np.arange(20) % 5)
    with pytest.raises(BadData, match="only in test: 4"):
        read(folder)


def test_fashion_mnist_whole(shared: Path) -> None:
    data = read("fashion-mnist", {"root": str(shared / "fashion_mnist")})
    assert data.inputs.shape == (70000, 1, 28, 28)
    train = data.inputs[data.part == "train"]
    assert train.mean() / 255 == pytest.approx(0.2860, abs=5e-5)  # the publishers' figures
    assert data.spec.classes[9] == "Ankle boot"
    assert data.spec.class_counts == (7000,) * 10
    # The duplicates against a twin that compares all bytes.
    unique = len({image.tobytes() for image in data.inputs})
    assert sum(len(g) - 1 for g in duplicate_groups(data.inputs)) == 70000 - unique


def test_duplicate_groups_against_a_naive_twin() -> None:
    rng = np.random.default_rng(0)
    # Values in one byte of a word only: the case in which a careless hash collides all the time.
    inputs = np.zeros((2000, 3, 5), np.uint8)
    inputs[:, 1, 2] = rng.integers(0, 64, 2000)
    inputs[:, 2, 4] = rng.integers(0, 64, 2000)
    naive: dict[bytes, list[int]] = {}
    for i, x in enumerate(inputs):
        naive.setdefault(x.tobytes(), []).append(i)
    expected = [g for g in naive.values() if len(g) > 1]
    assert [g.tolist() for g in duplicate_groups(inputs)] == expected


def test_no_download_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path))
    monkeypatch.setenv("FITWELL_OFFLINE", "1")
    with pytest.raises(BadData, match=r"FITWELL_OFFLINE=1 forbids downloads.*data\.root=DIR"):
        read("fashion-mnist")
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadData, match=r"data\.root = .*no such folder") as error:
        read("fashion-mnist", {"root": str(tmp_path / "gone")})
    assert error.value.setting == "data.root"


def fetching(
    monkeypatch: pytest.MonkeyPatch, cache: Path, fetch: Callable[[str, str, str], None]
) -> list[str]:
    """The addresses that are asked for from now on, and what `fetch` does for each."""
    import torchvision.datasets.utils

    asked: list[str] = []

    def download_url(url: str, root: str, md5: str) -> None:
        asked.append(url)
        fetch(url, root, md5)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download_url)
    monkeypatch.setenv("FITWELL_CACHE", str(cache))
    monkeypatch.delenv("FITWELL_OFFLINE", raising=False)
    return asked


@pytest.mark.parametrize(
    ("name", "folder"), [("fashion-mnist", "FashionMNIST"), ("mnist", "MNIST")]
)
def test_download_is_done_once_and_a_killed_one_again(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(url: str, root: str, md5: str) -> None:
        assert len(md5) == 32 and Path(root) == tmp_path / "downloads" / folder / "raw"
        Path(root).mkdir(parents=True, exist_ok=True)
        if url.endswith("train-images-idx3-ubyte.gz"):
            idx_folder(Path(root), ".gz")

    asked = fetching(monkeypatch, tmp_path, fetch)
    raw = tmp_path / "downloads" / folder / "raw"
    raw.mkdir(parents=True)
    idx_folder(raw, ".gz")  # files there, but never said to be whole
    for _ in range(2):
        data = read(name)
        assert data.inputs.shape == (60, 1, 7, 9) and data.name == name
    assert len(asked) == 4  # by the first read alone


def test_a_mirror_that_fails_is_followed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(url: str, root: str, md5: str) -> None:
        if "amazonaws" in url:
            raise OSError("down")
        Path(root).mkdir(parents=True, exist_ok=True)
        idx_folder(Path(root), ".gz")

    asked = fetching(monkeypatch, tmp_path, fetch)
    assert len(read("mnist")) == 60
    assert len(asked) == 8 and "amazonaws" in asked[0] and "lecun" in asked[1]


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist", "cifar10"])
def test_download_that_fails_says_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(url: str, root: str, md5: str) -> None:
        raise RuntimeError("File not found or corrupted.")

    fetching(monkeypatch, tmp_path, fetch)
    with pytest.raises(BadData, match=r"could not be downloaded: File not.*data\.root=DIR"):
        read(name)


def cifar(folder: Path, n: int = 40) -> dict[str, np.ndarray]:
    """Batches as CIFAR-10's binary version has them: name -> [record, byte]."""
    made = {}
    for i, name in enumerate(BATCHES):
        block = np.random.default_rng(i).integers(0, 256, (n, 3073), np.uint8)
        block[:, 0] = np.arange(n) % 10
        made[name] = block
        block.tofile(folder / name)
    return made


def test_cifar10_is_read_from_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made").mkdir()
    made = cifar(tmp_path / "made")

    def fetch(url: str, root: str, md5: str) -> None:
        assert url == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
        Path(root).mkdir(parents=True)
        with tarfile.open(Path(root) / "cifar-10-binary.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "made", "cifar-10-batches-bin")

    asked = fetching(monkeypatch, tmp_path / "cache", fetch)
    for source, options in (("cifar10", {}), ("cifar10", {}), (tmp_path / "made", {})):
        data = read(source, options)
        assert data.inputs.shape == (240, 3, 32, 32) and data.spec.classes[9] == "truck"
        assert (data.part == "test").sum() == 40 and data.keys[-1] == "test_batch 39"
        block = made["data_batch_2.bin"][7]
        assert (data.inputs[47].ravel() == block[1:]).all() and data.targets[47] == block[0]
    assert len(asked) == 1
    assert read("cifar10", {"root": str(tmp_path / "made")}).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", r"test_batch\.bin has 122,900 bytes, which is no whole number of records of 3,073"),
        ("label", r"test_batch\.bin holds the label 77, and CIFAR-10 has 0 to 9"),
        ("empty", r"test_batch\.bin has 0 bytes"),
    ],
)
def test_damaged_batches_are_named(tmp_path: Path, damage: str, message: str) -> None:
    block = cifar(tmp_path)["test_batch.bin"]
    block[3, 0] = 77
    raw = {"cut": block.tobytes()[:122_900], "label": block.tobytes(), "empty": b""}[damage]
    (tmp_path / "test_batch.bin").write_bytes(raw)
    with pytest.raises(BadData, match=message):
        read(tmp_path)


def test_a_root_without_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"holds none of data_batch_1\.bin, .*leave data\.root out"):
        read("cifar10", {"root": str(tmp_path)})


def test_unknown_and_missing_sources() -> None:
    with pytest.raises(BadData, match="Did you mean digits"):
        read("digts")
    with pytest.raises(BadData, match=r"no file or folder /no/such/thing\.csv") as error:
        read("/no/such/thing.csv")
    assert error.value.where == "/no/such/thing.csv"
    data, problems = check("no/such/folder")
    assert data is None
    assert problems[0].name == "missing_path"
    assert problems[0].where == ("no/such/folder",)
    with pytest.raises(BadData, match="type int"):
        read(3)


def test_a_path_beats_a_source_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    idx_folder(tmp_path / "digits")
    data = read("digits")
    assert data.inputs.shape == (60, 1, 7, 9)
    assert "path_beats_name" in {p.name for p in data.problems}


def test_archives_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "images.7z"
    path.write_bytes(b"7z")
    with pytest.raises(BadData, match="Unpack it"):
        read(path)
    other = tmp_path / "model.bin"
    other.write_bytes(b"x")
    with pytest.raises(BadData, match=r"no kind.*\.csv"):
        read(other)


def test_settings_that_do_not_go_with_the_source() -> None:
    for name, value in (("target", "x"), ("group", "x"), ("root", "x")):
        with pytest.raises(SettingError) as error:
            read("digits", {name: value})
        assert error.value.setting == f"data.{name}"
    with pytest.raises(BadData, match=r"data\.image_size = 16.*table"):
        read("wine", {"image_size": 16})
    with pytest.raises(SettingError, match="Did you mean image_size"):
        read("digits", {"imagesize": 16})
    assert read("digits", {"image_size": 16}).inputs.shape == (1797, 1, 16, 16)


def test_reading_imports_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,target\n" + "1,2.5\n2,3.5\n3,4.5\n5,5.5\n7,9.5\n" * 20)
    code = (
        "import sys, fitwell.data as d; data = d.read(sys.argv[1]); d.split.fit_rows(data, {}, 0); "
        "assert not {'torch', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)

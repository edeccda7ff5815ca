"""Images from disk: how long training waits for them, and how much memory many of them take.

`python -m benchmarks.store`: the share of the second epoch that Caltech-25 at 160 pixels waits for
data; and a folder of 5 GB of pictures, made for this, that is read, checked and trained on for an
epoch, while the anonymous memory of all its processes is looked at ten times a second. What is mapped
from a file does not count: the system takes it back when it needs the room.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.finetune import unpack

LIMITS = {
    "caltech25, 160 px": {"waiting, second epoch": "under 0.03"},
    "5 GB folder": {"anonymous memory, GB": "under 1.5"},
}
SIDE = 224
PICTURES = 33_400  # of 224x224x3 bytes: 5.03 GB, as files and decoded
CLASSES = 10
EVERY = 0.1  # seconds between two looks


def main() -> None:
    result = common.load("store", timed=True)
    result["limits"] = LIMITS
    result["rows"], result["summary"] = [], {}
    with tempfile.TemporaryDirectory() as folder:
        waiting(result, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        memory(result, Path(folder))
    common.save(result)


def waiting(result: dict[str, Any], folder: Path) -> None:
    """Two epochs of the normalised convolution network, the second without any decoding."""
    unpack(folder, ("train", "test"))
    settings = ["data.image_size=160", "train.epochs=2", "model.name=convnet"]
    command = fit(folder / "photos", folder / "run", settings)
    subprocess.run(command, check=True, env=environment(folder), capture_output=True)
    rows = [json.loads(line) for line in (folder / "run" / "epochs.jsonl").open(encoding="utf-8")]
    row = {"case": "caltech25, 160 px", "waiting": [r["waiting"] for r in rows]}
    common.add(result, row | {"seconds": [r["seconds"] for r in rows]})
    result["summary"]["caltech25, 160 px"] = {"waiting, second epoch": rows[1]["waiting"]}
    print(row, flush=True)


def memory(result: dict[str, Any], folder: Path) -> None:
    """An epoch of a network that is small, so that the pictures are what there is to hold."""
    place = folder / "pictures"
    make(place)
    size = sum(path.stat().st_size for path in place.rglob("*.bmp"))
    layers = "[conv2d(4,stride=8),relu,avgpool2d(7),flatten]"
    settings = ["model.name=sequential", f"model.layers={layers}", "train.epochs=1"]
    settings += [f"data.image_size={SIDE}", "train.batch_size=128"]
    started = time.perf_counter()
    with (folder / "log").open("wb") as log:
        command = fit(place, folder / "run", settings)
        process = subprocess.Popen(command, env=environment(folder), stdout=log, stderr=log)
        most = 0
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(EVERY)
    if process.returncode:
        raise SystemExit((folder / "log").read_text(encoding="utf-8"))
    row = {"case": "5 GB folder", "folder_bytes": size, "pictures": PICTURES, "anonymous": most}
    common.add(result, row | {"seconds": time.perf_counter() - started})
    result["summary"]["5 GB folder"] = {"anonymous memory, GB": most / 1e9}
    print(row, flush=True)


def make(folder: Path) -> None:
    """Pictures of a colour a class under noise; uncompressed, since only their number matters."""
    from PIL import Image

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 128, (SIDE * 3, SIDE * 3, 3), dtype=np.uint8)
    for i in range(PICTURES):
        place = folder / f"class{i % CLASSES}" / f"{i:05}.bmp"
        place.parent.mkdir(parents=True, exist_ok=True)
        top, left = rng.integers(0, 2 * SIDE, 2)
        colour = (np.array([1, 3, 7]) * (i % CLASSES) * 12 % 128).astype(np.uint8)
        picture = noise[top : top + SIDE, left : left + SIDE] + colour
        picture[0, :4] = i % 256, i // 256, i % 241  # no two are equal
        Image.fromarray(picture).save(place)


def fit(source: Path, out: Path, settings: list[str]) -> list[str]:
    command = [sys.executable, "-m", "fitwell", "fit", str(source), *settings]
    return [*command, "--out", str(out), "--no-examples", "--quiet"]


def environment(folder: Path) -> dict[str, str]:
    """That of this process, with a cache of its own: nothing is decoded before."""
    return {**os.environ, "FITWELL_CACHE": str(folder / "cache")}


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory of a process and all its children, shared pages by their share."""
    total = 0
    for process in (pid, *children(pid)):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        except OSError:  # it has ended
            continue
        sizes = dict(line.split(":", 1) for line in text.splitlines()[1:])
        total += 1024 * int(sizes["Pss_Anon"].split()[0])
    return total


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    found = [int(child) for child in text.split()]
    return [*found, *(c for child in found for c in children(child))]


if __name__ == "__main__":
    main()

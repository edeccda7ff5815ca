"""Spoken digits, clean and in white noise as loud as the voice, and what training in noise brings.

`python -m benchmarks.spoken`: accuracy on indices 0 to 4 of each speaker and digit, trained on the others;
by the default model for recordings, by the same with noise of -5 to 20 dB while training, and by a network
that reads the recording frame by frame. 12 epochs of the first 0.64 s of each. Noise is white, of the
power of the recording without the silence that it is padded with, and over all of the 0.64 s. The two arms
of a pair share seed and order; `fitwell compare` judges them.
"""

import itertools
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import fitwell as fw
from benchmarks import common

ARCHIVE = common.DATA / "spoken_digits" / "recordings.zip"
SECONDS = 0.64
SHORT = {"data.seconds": SECONDS, "train.epochs": 12}
NOISE = {"augment.noise_snr": [-5.0, 20.0]}
CLEAN, NOISY = "clean", "0 dB"
SEEDS = 3
ARMS: dict[str, dict[str, Any]] = {
    "default": {},
    "default, noise": NOISE,
    "gru": {"model.name": "gru", "model.bidirectional": True},
    "gru, noise": {"model.name": "gru", "model.bidirectional": True, **NOISE},
}


def main() -> None:
    result = common.load("spoken")
    with tempfile.TemporaryDirectory() as folder:
        clean, noisy = parted(Path(folder))
        for pair in (("default", "default, noise"), ("gru", "gru, noise")):
            for seed, arm in itertools.product(range(SEEDS), pair):
                if common.done(result, arm=arm, seed=seed):
                    continue
                chosen = {**SHORT, **ARMS[arm], "train.seed": seed}
                run = fw.fit(clean, settings=chosen, out=Path(folder) / "run", examples=False)
                row = {"arm": arm, "seed": seed, "seconds": run.seconds}
                row[CLEAN] = run.scores["test"]["accuracy"]
                row[NOISY] = fw.evaluate(run, noisy)["scores"]["accuracy"]
                shutil.rmtree(Path(folder) / "run")
                common.add(result, row)
                print(row, flush=True)
    summarise(result)


def parted(folder: Path) -> tuple[Path, Path]:
    """(recordings in train and test, the test recordings with noise of their own power)."""
    clean, noisy = folder / "digits", folder / "noisy"
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".wav"):
                continue
            label, _, index = Path(name).stem.split("_")
            tested = int(index) < 5
            place = clean / ("test" if tested else "train") / label / Path(name).name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))
            if tested:
                wave, rate = soundfile.read(place)
                rng = np.random.default_rng([int(index), *map(ord, Path(name).stem)])
                heard = wave[: round(SECONDS * rate)]
                loud = np.sqrt(np.mean(heard**2)) * rng.standard_normal(round(SECONDS * rate))
                loud[: len(heard)] += heard
                target = noisy / label / Path(name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(target, loud, rate, subtype="PCM_16")
    return clean, noisy


def summarise(result: dict[str, Any]) -> None:
    for arm in ARMS:
        rows = [row for row in result["rows"] if row["arm"] == arm]
        if rows:
            result["summary"][arm] = {
                how: common.spread([row[how] for row in rows]) for how in (CLEAN, NOISY)
            }
    for arm in ("default", "gru"):
        pairs = [sorted_scores(result, name) for name in (arm, f"{arm}, noise")]
        if len(pairs[0]) == len(pairs[1]) == SEEDS:
            # As if the seeds were folds, which widens the interval: they share their training part.
            verdict = fw.compare(*pairs, settings={"data.folds": SEEDS})
            result["summary"][f"what noise while training brings {arm} at 0 dB"] = {
                "effect": verdict.effect,
                "low": verdict.low,
                "high": verdict.high,
                "decision": verdict.decision,
            }
    common.save(result)


def sorted_scores(result: dict[str, Any], arm: str) -> list[float]:
    """Accuracy at 0 dB of each seed in order."""
    rows = sorted((r for r in result["rows"] if r["arm"] == arm), key=lambda row: row["seed"])
    return [row[NOISY] for row in rows]


if __name__ == "__main__":
    main()

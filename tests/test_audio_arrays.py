"""Recordings from Python: the same as from files, and refused where they are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from sounds import RATE, tone, tones

import fitwell as fw
from fitwell.data import BadData, check, read
from fitwell.data.inputs import read_inputs

AUDIO = {"kind": "audio", "rate": RATE}


def waves(count: int = 24) -> tuple[list[np.ndarray], list[str]]:
    """What `tones` writes, in its order."""
    found = [
        (n, tone(2 * i + (n == "low"), high=n == "high"))
        for n in ("high", "low")
        for i in range(count)
    ]
    return [wave for _, wave in found], [name for name, _ in found]


def test_arrays_are_what_files_of_them_are(tmp_path: Path) -> None:
    files = read(tones(tmp_path / "tones", 24))
    given = read(waves(), AUDIO)
    assert given.spec.kind == "audio" and given.spec.classes == ("high", "low")
    assert (given.spec.rate, given.spec.samples) == (files.spec.rate, files.spec.samples)
    assert given.spec.input_shape == files.spec.input_shape
    assert np.abs(given.inputs.astype(int) - files.inputs).max() <= 1  # rounding of the file
    assert given.keys[3] == "row 3"


@pytest.mark.parametrize("kind", ["int16", "int32", "uint8", "float32", "float64"])
@pytest.mark.parametrize("form", ["list", "array", "channel", "tensor"])
def test_kinds_and_forms(kind: str, form: str) -> None:
    x = np.linspace(-0.99, 0.99, 3 * 400).reshape(3, 400)
    scale, middle = {"int16": (2**15, 0), "int32": (2**31, 0), "uint8": (128, 128)}.get(
        kind, (1, 0)
    )
    made = (x * scale + middle).astype(kind)
    forms: dict[str, Any] = {
        "list": list(made),
        "array": made,
        "channel": made[:, None],
        "tensor": torch.from_numpy(made),
    }
    data, _ = check((forms[form], [0, 1, 0]), AUDIO)
    assert data is not None and data.inputs.dtype == np.int16
    heard = data.inputs[:, 0] / 2**15
    np.testing.assert_allclose(heard, x, atol=1 / 128 if kind == "uint8" else 1 / 2**15)


def test_unequal_lengths_are_padded_and_cut() -> None:
    x = [np.full(n, 0.5, np.float32) for n in (300, 500, 400, 500)]
    data, problems = check((x, [0, 1, 0, 1]), AUDIO)
    assert data is not None and data.inputs.shape == (4, 1, 500)
    assert (data.inputs[0, 0, :300] == 16384).all() and not data.inputs[0, 0, 300:].any()
    data, problems = check((x, [0, 1, 0, 1]), {**AUDIO, "seconds": 0.05})
    assert data is not None and data.inputs.shape == (4, 1, 400)
    assert {p.name: p.where for p in problems}["recording_cut"] == ("row 1", "row 3")


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([np.zeros(400), np.array([])], "1 recording without a sample: row 1"),
        ([np.zeros(400), np.full(400, 1.5)], "1 recording with samples beyond -1 and 1: row 1"),
        ([np.full(400, np.nan), np.zeros(400)], "1 recording with NaN or infinite samples: row 0"),
        (
            [np.zeros((400, 2)), np.zeros(400)],
            r"1 recording of shape \[400, 2\], not \[frame\]: row 0",
        ),
        ([np.zeros(400, np.int64), np.zeros(400)], "1 recording of int64: row 0"),
        ([np.array(["a"]), np.zeros(400)], "1 recording of str"),
        ([0.1, 0.2], r"2 recordings of shape \[\], not \[frame\]: row 0 and row 1"),
        ([[[0.1, 0.2], [0.3]], np.zeros(400)], "1 recording of no one length: row 0"),
        ([], "X holds no recording"),
        (np.float64(0.5), r"1 recording of shape \[\], not \[frame\]: row 0"),
        (scipy.sparse.eye(3), r"1 recording of shape \[\], not \[frame\]: row 0"),
    ],
)
def test_what_is_no_recording_is_named(x: Any, says: str) -> None:
    with pytest.raises(BadData, match=says):
        read((x, [0, 1]), AUDIO)


def test_the_rate_must_be_said() -> None:
    with pytest.raises(BadData, match=r"Set data\.rate, such as data\.rate=16000") as caught:
        read(waves(), {"kind": "audio"})
    assert caught.value.problems[0].name == "no_rate"


def test_they_are_never_guessed() -> None:
    x, y = waves()
    assert read((np.stack(x), np.array(y))).spec.kind == "table"


def test_one_is_trained_on_and_predicts(tmp_path: Path) -> None:
    x, y = waves()
    run = fw.fit((x, y), settings={"data.kind": "audio", "data.rate": RATE, "train.epochs": 8})
    assert run.spec is not None
    new = [tone(100 + i, high=i % 2 == 0) for i in range(4)]
    files = read_inputs(tones(tmp_path / "more", 2, start=50), run.spec)
    given = read_inputs([*new, new[0][:1000]], run.spec)
    assert given.inputs.shape == (5, *files.inputs.shape[1:]) and given.inputs.dtype == np.int16
    assert [row["prediction"] for row in run.predict(new)] == ["high", "low"] * 2
    assert fw.evaluate(run, (new, ["high", "low"] * 2))["scores"]["accuracy"] == 1
    long = np.tile(new[0], 2)
    (cut,) = read_inputs([new[1], long], run.spec).problems
    assert cut.name == "recording_cut" and cut.where == ("row 1",)


def test_parts_of_an_npz_are_called_by_their_names(tmp_path: Path) -> None:
    x = np.full((6, 400), 0.25, np.float32)
    parts = {"X_train": x[:4], "y_train": [0, 1, 0, 1], "X_test": x[4:], "y_test": [0, 1]}
    np.savez(tmp_path / "waves.npz", **parts)
    data, _ = check(str(tmp_path / "waves.npz"), AUDIO)
    assert data is not None and data.spec.kind == "audio"
    assert data.part is not None and data.part.tolist() == ["train"] * 4 + ["test"] * 2
    parts["X_test"][1, 3] = np.nan
    np.savez(tmp_path / "waves.npz", **parts)
    with pytest.raises(BadData, match="1 recording with NaN or infinite samples: test row 1"):
        read(str(tmp_path / "waves.npz"), AUDIO)

"""What `explain` adds to an entry: shapes, curves, pictures; and the page that is made of it."""

import json
import math
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

import fitwell as fw
from fitwell.api.naming import KINDS, SYNONYMS, list_kind
from fitwell.cli.main import run
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.arithmetic import windows
from fitwell.nn.inits import INITS
from fitwell.nn.layers import LAYERS
from fitwell.nn.losses import LOSSES
from fitwell.schedules import SCHEDULES
from fitwell.settings import arguments, summaries
from fitwell.textbook import sketch
from fitwell.textbook.plot import panel
from fitwell.textbook.windows import picture


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run(["explain", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "output", "parameters", "multiply_adds"),
    [
        (("conv2d", "--set", "input=[1,28,28]", "kernel=5", "padding=2", "stride=2"),
         [1, 14, 14], 26, 4900),
        (("conv2d", "input=[3,32,32]", "out_channels=8", "kernel=[3,5]", "stride=[1,2]"),
         [8, 30, 14], 368, 151200),
        (("conv2d", "input=1,28,28", "dilation=2"), [1, 24, 24], 10, 5184),
        (("conv2d", "input=[4,8,8]", "groups=4", "out_channels=8", "padding=1"), [8, 8, 8], 80, 4608),
        (("maxpool2d", "input=[1,28,28]", "kernel=[2,3]", "stride=[2,3]"), [1, 14, 9], 0, 0),
        (("maxpool2d", "input=[64,112,112]", "kernel=3", "stride=2", "ceil_mode=true"),
         [64, 56, 56], 0, 0),
        (("conv1d", "input=[1,16000]", "kernel=400", "stride=160"), [1, 98], 401, 39200),
        (("linear", "input=[784]", "out_features=10"), [10], 7850, 7840),
        (("attention", "input=[197,768]", "heads=12"), [197, 768], 2362368, 524391936),
    ],
)  # fmt: skip
def test_shapes_are_said_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    output: list[int],
    parameters: int,
    multiply_adds: int,
) -> None:
    said = explained(capsys, *words)
    got = (said["output"], said["parameters"], said["multiply_adds"])
    assert got == (output, parameters, multiply_adds)
    assert said["kind"] == "layers"
    assert run(["explain", *words]) == 0
    text = capsys.readouterr().out
    assert f"-> output {output}, {parameters:,} parameters, {multiply_adds:,} multiply-adds" in text


def test_a_name_of_several_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(capsys, "linear")["kind"] == "models"
    assert set(explained(capsys, "linear")["also"]) == {"layers.linear", "schedules.linear"}
    assert explained(capsys, "schedules.linear")["curve"]["y"][0] == 1.0
    assert explained(capsys, "linear", "warmup=0.5")["kind"] == "schedules"
    assert run(["explain", "constant"]) == 0
    text = capsys.readouterr().out
    both = [fw.explain(f"{kind}.constant") for kind in ("inits", "schedules")]
    assert all(f"Formula: {entry['formula']}" in text for entry in both)
    assert run(["explain", "constant", "warmup=0.5"]) == 0
    assert both[0]["formula"] not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "formula", "owner"),
    [
        ("weight_decay", "lambda/2 ||w||^2", "adamw"),
        ("l1", "sign(w) max(|w|", "sgd"),
        ("drop_path", "/ (1 - p)", "resnet"),
        ("clip_norm", "min(1,", "train"),
        ("clip_value", "max(g_i", "train"),
        ("normalise_gradient", "g / ||g||", "train"),
        ("patience", "no better validation score", "train"),
    ],
)
def test_a_technique_that_is_a_setting_has_its_entry(name: str, formula: str, owner: str) -> None:
    entry = fw.explain(name)
    assert entry["kind"] == "settings" and formula in entry["formula"]
    assert owner in entry["use"].rpartition("; a setting of ")[2].split(", ")
    assert entry["use"].count(";") >= 1 and entry["weakness"] and entry["source"]


def test_textbooks_other_names_lead_to_the_entry(capsys: pytest.CaptureFixture[str]) -> None:
    for other, name in SYNONYMS.items():
        assert fw.explain(other) == fw.explain(name)
        assert fw.explain(other)["formula"]
    assert explained(capsys, "max-pooling", "input=[1,4,4]")["output"] == [1, 2, 2]


def test_every_name_that_is_listed_is_explained_within_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    kinds = [kind for kind in KINDS if kind not in ("runs", "inits")]  # inits draw weights: slow
    for kind in kinds:
        assert run(["list", kind]) == 0
        lines = capsys.readouterr().out.splitlines()
        for row in list_kind(kind):
            assert run(["explain", row["name"]]) == 0, row["name"]
            lines += capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80, kind
    assert explained(capsys, "executors.local")["kind"] == "executors"


def test_what_needs_no_torch_imports_none() -> None:
    code = (
        "import sys; from fitwell.cli.main import run\n"
        "for words in (['conv2d', 'input=[1,28,28]'], ['adam'], ['optim.lr'], ['cosine', '--help']):\n"
        "    assert run(['explain', *words]) == 0\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_activations_curve_and_where_it_has_no_gradient() -> None:
    for name in ACTIVATIONS:
        curve = fw.explain(name)["curve"]
        x, y = np.array(curve["x"]), np.array(curve["y"])
        middle = (curve["x"][1:-1], np.gradient(y, x)[1:-1])
        kinks = np.isin(x[1:-1], [-3, 0, 3])  # a difference straddles them
        np.testing.assert_allclose(
            np.array(curve["derivative"])[1:-1][~kinks], middle[1][~kinks], atol=6e-3
        )
    sigmoid = fw.explain("sigmoid")["curve"]
    np.testing.assert_allclose(sigmoid["y"], expit(sigmoid["x"]), atol=1e-5)
    edge = np.log((1 + np.sqrt(0.95)) / (1 - np.sqrt(0.95)))  # where s (1 - s) = 0.05 / 4
    (left, right) = sigmoid["saturated"]
    assert left[0] == -6 and right[1] == 6 and sigmoid["dead"] == []
    assert left[1] == pytest.approx(-edge, abs=0.11) and right[0] == pytest.approx(edge, abs=0.11)
    assert fw.explain("hardswish")["curve"]["dead"] == [[-6.0, -3.0]]
    assert fw.explain("leaky_relu")["curve"]["dead"] == []


def test_curves_follow_their_settings() -> None:
    cosine = fw.explain("cosine", {"floor": 0.5, "warmup": 0.1})["curve"]
    assert cosine["y"][-1] == 0.5 and max(cosine["y"]) == pytest.approx(1, abs=1e-2)
    huber = fw.explain("huber", {"delta": 0.5})["curve"]
    assert huber["derivative"][-1] == 0.5 and huber["x"][-1] == 3
    crossed = fw.explain("cross_entropy")["curve"]
    np.testing.assert_allclose(crossed["y"], -np.log(expit(crossed["x"])), rtol=1e-4)
    np.testing.assert_allclose(crossed["derivative"], expit(crossed["x"]) - 1, atol=1e-5)


@pytest.mark.parametrize("name", INITS)
def test_an_inits_curve_is_a_density(name: str) -> None:
    before = torch.get_rng_state()
    curve = fw.explain(f"inits.{name}")["curve"]
    assert torch.equal(before, torch.get_rng_state())
    x, y = np.array(curve["x"]), np.array(curve["y"])
    assert (y * (x[1] - x[0])).sum() == pytest.approx(1)
    if name == "xavier_normal":
        assert (y * x**2 * (x[1] - x[0])).sum() == pytest.approx(2 / 512, rel=0.02)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *LOSSES, *SCHEDULES, *INITS, *LAYERS])
def test_sketches_fit_a_terminal(name: str) -> None:
    for kind in [kind for kind, entries in summaries().items() if name in entries]:
        lines = sketch(fw.explain(f"{kind}.{name}"))
        drawn = kind in ("activations", "losses", "schedules", "inits", "layers")
        drawn = drawn and name != "boxes"  # whose loss is no function of one number
        assert bool(lines) == drawn and all(len(line) <= 78 for line in lines), (kind, name)


def test_a_large_picture_is_cut() -> None:
    values = arguments("layers", "conv2d", {"kernel": 50, "padding": 3, "dilation": 3})
    lines = picture((1, 224, 224), values)
    assert len(lines) <= 17 and max(map(len, lines)) <= 78 and lines[0].endswith("…")


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_with_ceil_mode_the_sum_gives_what_torch_gives(size: int, kernel: int, stride: int) -> None:
    values = {"kernel": kernel, "stride": stride, "padding": kernel // 2, "ceil_mode": True}
    pool = torch.nn.MaxPool2d(kernel, stride, kernel // 2, ceil_mode=True)
    theirs = pool(torch.zeros(1, size, size)).shape[1]
    line = picture((1, size, size), values)[-1]
    formula, _, result = line.split(maxsplit=1)[1].rpartition(" = ")
    formula = formula.removesuffix(" behind the input")
    assert eval(formula, {"ceil": math.ceil}) == int(result) == theirs


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.integers(0, 2) | st.just("same"),
    dilation=st.integers(1, 2),
)
def test_the_picture_shows_what_the_window_reads(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: int | str,
    dilation: int,
) -> None:
    if padding == "same":
        stride = (1, 1)
    values: dict[str, Any] = {
        "kernel": list(kernel),
        "stride": list(stride),
        "padding": padding,
        "dilation": dilation,
    }
    sliding = windows(values, 2)
    reach = [w.dilation * (w.kernel - 1) + 1 for w in sliding]
    padded = [n + 2 * w.padding + w.behind for n, w in zip(size, sliding, strict=True)]
    if any(r > n for r, n in zip(reach, padded, strict=True)):
        return
    positions = [w.positions(n) for w, n in zip(sliding, size, strict=True)]
    lines = picture((1, *size), values)
    for line, found in zip(lines[-2:], positions, strict=True):
        formula, _, result = line.split(maxsplit=1)[1].rpartition(" = ")
        assert eval(formula, {"floor": math.floor}) == int(result) == found
    width = 2 * padded[1] - 1
    rows = [line.split() for line in lines if len(line) == width and line != "⋮"]
    grid = np.full(padded, "·")  # what is cut is input
    grid[: len(rows)] = rows
    # Independent: convolve marked positions with unfold, one window a column.
    numbered = torch.arange(grid.size, dtype=torch.float32).view(1, 1, *grid.shape)
    read = torch.nn.functional.unfold(numbered, kernel, dilation=dilation, stride=stride)[0].T
    assert len(read) == positions[0] * positions[1]
    first = {*read[0].int().tolist()}
    second = {*read[1].int().tolist()} if len(read) > 1 else set()
    marks = grid.flatten()
    assert {*np.flatnonzero(np.isin(marks, ["■", "▣"])).tolist()} == first
    assert {*np.flatnonzero(np.isin(marks, ["□", "▣"])).tolist()} == second


def test_a_panel_puts_each_dot_where_the_curve_is() -> None:
    x = [i / 50 for i in range(101)]
    lines = panel(x, [v * v for v in x], "square", width=48, height=8)
    assert len(lines) == 11 and {len(line) for line in lines} == {48}
    tops = []
    for column in range(8, 48):
        tops.append(min(4 * i for i, line in enumerate(lines[1:9]) if line[column] != " "))
    assert all(a >= b for a, b in pairwise(tops)) and tops[0] == 28 and tops[-1] == 0
    assert lines[1].lstrip().startswith("4│") and lines[8].lstrip().startswith("0│")


def test_the_page_of_the_catalogue_is_written_from_the_tables() -> None:
    from docs.make_catalogue import PAGE, TITLES, page

    assert set(TITLES) == set(summaries())
    text = page()
    assert PAGE.read_text(encoding="utf-8") == text, "run: python docs/make_catalogue.py"
    for kind, entries in summaries().items():
        assert all(f"\n### {name}\n" in text for name in entries), kind

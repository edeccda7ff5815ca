"""The tables of `show`: readable at 80 columns also for deep networks."""

from typing import Any

import pytest
import torch
import torchvision

from fitwell.report import structure
from fitwell.show import layer_table, parameter_table, show_model
from fitwell.spec import Spec


def test_parameters_end_with_their_sum() -> None:
    rows = [
        {"name": "w", "shape": [2, 3], "count": 6, "init": "he", "trainable": True},
        {"name": "v", "shape": [2, 3], "count": 0, "tied_to": "w", "trainable": True},
    ]
    lines = structure.parameters(rows).splitlines()
    assert lines[2].split() == ["w", "2×3", "true", "he", "6"]
    assert lines[3].split() == ["v", "2×3", "true", "w", "0"]
    assert lines[-1].split() == ["all", "6"]


@pytest.mark.parametrize("name", ["resnet50", "vit_b_16", "densenet121"])
def test_a_deep_network_is_a_short_table(name: str) -> None:
    size = 224 if name == "vit_b_16" else 64
    spec = Spec("images", "classification", (3, size, size), tuple("abcdefghij"))
    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
    layers, parameters = layer_table(model, spec), parameter_table(model)
    for table in (structure.layers(layers), structure.parameters(parameters)):
        lines = table.splitlines()
        assert max(map(len, lines)) <= 80
        blocks = {"resnet50": 4, "vit_b_16": 1, "densenet121": 0}[name]
        folded = [line for line in lines if "more like it" in line]
        assert len(folded) == blocks
        if name == "vit_b_16":
            assert len(lines) < 30
            assert folded[0] == "  11 more like it, to encoder.layers.encoder_layer_11"


def test_equal_blocks_are_told_apart_from_others() -> None:
    def row(name: str, weights: int, forward: float) -> dict[str, Any]:
        return {
            "name": name,
            "kind": "Linear",
            "output": [3],
            "parameters": weights,
            "multiply_adds": 12_345,
            "functions": [],
            "variance": {"forward": forward, "gradient": 2.0},
        }

    rows = [row(f"body.{i}.linear", 9 + (i == 4), 1 / (i + 1)) for i in range(5)]
    lines = structure.layers([row("stem", 1, 1.0), *rows, row("head", 5, 0.5)]).splitlines()[2:]
    assert [line.split()[0] for line in lines] == [
        "stem",
        "body.0",
        "linear",
        "3",
        "body.4",
        "linear",
        "head",
    ]
    assert lines[3] == "  3 more like it, to body.3 (signal 0.25, gradient 2)"
    assert lines[2].split() == ["linear", "Linear", "3", "9", "12.3k", "1", "2"]


def test_show_model_joins_layers_and_signal() -> None:
    shown = show_model(
        torch.nn.Sequential(torch.nn.Linear(3, 2)), Spec("table", "regression", (3,))
    )
    (row,) = shown["layers"]
    assert row["variance"]["forward"] > 0 and shown["parameters"] == 8

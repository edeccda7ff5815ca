"""Layers, parameters, work and signal of a model."""

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import fitwell as fw
from fitwell.models import build
from fitwell.show import layer_table, parameter_table, show_model, signal
from fitwell.spec import Spec

IMAGES = Spec("images", "classification", (3, 64, 64), tuple("abcdefghij"))
TABLE = Spec("table", "regression", (6,))


class Odd(nn.Module):
    """Parameters without a layer, functions without a module, a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(6))
        self.twice = nn.Linear(6, 6)
        self.never = nn.Linear(6, 2)
        self.tied = nn.Linear(6, 6)
        self.tied.weight = self.twice.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(torch.relu(self.twice(x) + self.token))
        return self.tied(x) @ self.never.weight.T


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_16", "googlenet"])
def test_work_and_parameters_equal_torchs_own_counts(name: str) -> None:
    spec = IMAGES
    options: dict[str, Any] = {"vit_b_16": {"image_size": 64}, "googlenet": {"init_weights": False}}
    model = getattr(torchvision.models, name)(**options.get(name, {}))
    model.requires_grad_(name != "resnet18")  # the fused transformer layer is taken without, too
    modes = {n: m.training for n, m in model.named_modules()}
    rows = layer_table(model, spec)
    assert modes == {n: m.training for n, m in model.named_modules()}
    counter = FlopCounterMode(display=False)
    model.eval()
    with counter:
        model(torch.zeros(1, *spec.input_shape))
    assert sum(row["multiply_adds"] for row in rows) == counter.get_total_flops() // 2
    assert sum(row["parameters"] for row in rows) == sum(p.numel() for p in model.parameters())


def test_attention_is_counted_also_where_torch_would_fuse_it() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True)
    layer.requires_grad_(False)
    rows = layer_table(layer, Spec("table", "regression", (5, 16)))
    by_name = {row["name"]: row for row in rows}
    assert by_name["self_attn"]["multiply_adds"] == 4 * 5 * 16**2 + 2 * 5**2 * 16
    assert by_name["self_attn"]["parameters"] == 4 * (16 * 16 + 16)
    assert by_name["self_attn"]["output"] == [5, 16] and by_name["self_attn"]["functions"] == []
    assert by_name["model"]["functions"] == ["add", "relu"]  # residual connections, no module each


def test_what_is_no_layer_is_shown_too() -> None:
    rows = layer_table(Odd(), TABLE)
    assert [(row["name"], row["parameters"], row["multiply_adds"]) for row in rows] == [
        ("twice", 42, 36),
        ("twice#2", 0, 36),
        ("tied", 6, 36),  # its bias
        ("model", 6 + 14, 12),
    ]
    assert rows[-1]["functions"] == ["add", "mm", "relu"]
    table = {row["name"]: row for row in parameter_table(Odd(), "he")}
    assert table["tied.weight"]["tied_to"] == "twice.weight" and table["tied.weight"]["count"] == 0
    assert sum(row["count"] for row in table.values()) == sum(row["parameters"] for row in rows)


def test_the_signal_is_the_variance_of_outputs_and_of_their_gradients() -> None:
    """Against the law itself: a linear layer of variance v multiplies by n v, forwards and backwards."""
    torch.manual_seed(0)
    layers = [nn.Linear(400, 400, bias=False) for _ in range(3)]
    for layer, factor in zip(layers, (1.0, 4.0, 0.25), strict=True):
        nn.init.normal_(layer.weight, std=(factor / 400) ** 0.5)
    seen = signal(nn.Sequential(*layers), torch.randn(300, 400))
    forward = [seen[name]["forward"] for name in "012"]
    gradient = [seen[name]["gradient"] for name in "012"]
    assert forward == pytest.approx([1, 4, 1], rel=0.1)
    assert gradient == pytest.approx([1, 0.25, 1], rel=0.1)


def test_a_deep_sigmoid_network_loses_its_gradient_and_xavier_tanh_does_not() -> None:
    def course(activation: str, init: str) -> list[float]:
        torch.manual_seed(0)
        model = build(
            "mlp", TABLE, {"depth": 10, "width": 64, "activation": activation, "init": init}
        )
        rows = show_model(model, TABLE)["layers"]
        return [r["variance"]["gradient"] for r in rows if r["kind"] == "Linear"]

    vanishing, healthy = course("sigmoid", "default"), course("tanh", "xavier_normal")
    assert vanishing[0] < 1e-8 * vanishing[-2]
    assert healthy[0] > 0.05 * healthy[-2]


def test_the_signal_leaves_model_and_random_numbers_alone() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Dropout())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    seen = signal(model, torch.randn(8, 6))
    torch.set_rng_state(random)
    assert signal(model, torch.randn(8, 6)).keys() == seen.keys()
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert seen["1"]["forward"] == pytest.approx(1, rel=0.1)  # over the batch, as in training


def test_a_layer_that_cuts_the_gradient_is_seen_to() -> None:
    class Cut(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return nn.functional.linear(input, self.weight.data, self.bias.data)

    behind = signal(nn.Sequential(nn.Linear(6, 6), Cut(6, 6)), torch.randn(8, 6))
    assert behind["0"]["gradient"] and behind["1"]["gradient"]  # it passes on, and never learns

    class Stop(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach()

    stopped = signal(nn.Sequential(nn.Linear(6, 6), Stop()), torch.randn(8, 6))
    assert stopped["0"] == {"forward": stopped["1"]["forward"], "gradient": None}


def test_show_starts_from_the_weights_of_fit() -> None:
    said = fw.show("digits", model="lenet", settings={"train.seed": 3})
    again = fw.show("digits", model="lenet", settings={"train.seed": 3})
    other = fw.show("digits", model="lenet", settings={"train.seed": 4})
    variances = [[row["variance"] for row in each["layers"]] for each in (said, again, other)]
    assert variances[0] == variances[1] != variances[2]
    assert said["measured_on"] == "64 examples of the data"

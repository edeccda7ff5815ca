"""Initial weights against the variances of the papers."""

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from fitwell.errors import SettingError
from fitwell.models import build
from fitwell.models.vit import positions
from fitwell.nn.inits import INITS, draw_weights, init_of, named_weights
from fitwell.nn.norms import norm_1d, norm_2d, num_groups
from fitwell.nn.types import InitName
from fitwell.settings import choices, known, validate
from fitwell.show import parameter_table
from fitwell.spec import Spec

_VARIANCE = {  # of a weight, by (n_in, n_out)
    "default": lambda n_in, n_out: 1 / (3 * n_in),
    "xavier_normal": lambda n_in, n_out: 2 / (n_in + n_out),
    "xavier_uniform": lambda n_in, n_out: 2 / (n_in + n_out),
    "he": lambda n_in, n_out: 2 / n_in,
    "orthogonal": lambda n_in, n_out: 1 / max(n_in, n_out),
    "truncated_normal": lambda n_in, n_out: 1 / n_in,
    "zeros": lambda n_in, n_out: 0.0,
    "ones": lambda n_in, n_out: 0.0,
    "constant": lambda n_in, n_out: 0.0,
}
_LAYERS = {  # with n_in and n_out, receptive field included
    "linear": (lambda: nn.Linear(400, 200), 400, 200),
    "conv": (lambda: nn.Conv2d(16, 32, 5), 16 * 25, 32 * 25),
}


def test_types_list_the_table() -> None:
    assert list(get_args(InitName)) == list(INITS) == list(_VARIANCE)


# Without orthogonal kernels: those are one matrix of [channel, everything else], and tested below.
@pytest.mark.parametrize(
    ("name", "layer"),
    [(n, layer) for n in INITS for layer in _LAYERS if (n, layer) != ("orthogonal", "conv")],
)
def test_variance_is_the_papers(name: str, layer: str) -> None:
    torch.manual_seed(0)
    make, n_in, n_out = _LAYERS[layer]
    module: Any = make()
    INITS[name](module)
    weight = module.weight.detach().double().numpy()
    # 12,800 draws at least: a variance is known to 2.5 % then (2 standard errors of a normal's).
    assert weight.var() == pytest.approx(_VARIANCE[name](n_in, n_out), rel=0.06)
    mean = {"ones": 1.0, "constant": np.float32(0.1)}.get(name, 0.0)
    assert abs(weight.mean() - mean) <= 4 * weight.std() / math.sqrt(weight.size) + 1e-12
    assert bool((module.bias == 0).all()) == (name != "default")


def test_shapes_of_the_distributions() -> None:
    torch.manual_seed(0)
    drawn = {}
    for name in ("xavier_normal", "he", "xavier_uniform", "truncated_normal"):
        layer = nn.Linear(300, 100)
        INITS[name](layer)
        w = layer.weight.detach().numpy().ravel()
        drawn[name] = w / w.std()
    normal = stats.norm.cdf
    for name in ("xavier_normal", "he"):
        assert stats.kstest(drawn[name], normal).pvalue > 0.01, name
    assert stats.kstest(drawn["xavier_uniform"], normal).pvalue < 1e-6
    bound = math.sqrt(6 / 400) / math.sqrt(2 / 400)  # in standard deviations
    assert np.abs(drawn["xavier_uniform"]).max() <= bound * 1.01
    cut = stats.truncnorm(-2, 2)
    assert stats.kstest(drawn["truncated_normal"] * cut.std(), cut.cdf).pvalue > 0.01


def test_orthogonal_keeps_lengths() -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(5, 5))
    INITS["orthogonal"](model)
    kernel = model[0].weight.detach().flatten(1)
    assert torch.allclose(kernel @ kernel.T, torch.eye(8), atol=1e-5)
    x = torch.randn(4, 5)
    turned = x @ model[1].weight.detach().T
    assert torch.allclose(turned.norm(dim=1), x.norm(dim=1), atol=1e-5)


@pytest.mark.parametrize("name", [n for n in INITS if n != "default"])
def test_leaves_normalisation_and_slopes(name: str) -> None:
    model: Any = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.PReLU(), nn.LayerNorm([2, 4]))
    INITS[name](model)
    assert (model[1].weight == 1).all() and (model[3].weight == 1).all()
    assert model[2].weight.item() == 0.25


@pytest.mark.parametrize("name", INITS)
def test_same_seed_same_weights(name: str) -> None:
    layers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        layer = nn.Linear(3, 3)
        INITS[name](layer)
        layers.append(layer.weight.detach())
    assert torch.equal(layers[0], layers[1])
    assert torch.equal(layers[0], layers[2]) == (name in ("zeros", "ones", "constant"))


def test_named_weights_takes_each_parameter_once() -> None:
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 3), nn.GroupNorm(1, 3), nn.Linear(3, 3))
    model[3].weight = model[0].weight  # tied
    rows = list(named_weights(model))
    assert [n for n, _, _ in rows] == [n for n, _ in model.named_parameters()]
    weights = {n for n, _, weight in rows if weight}
    assert weights == {"0.weight", "1.weight_ih_l0", "1.weight_hh_l0"}


def test_a_bias_of_two_dimensions_is_no_weight() -> None:
    model: Any = nn.MultiheadAttention(4, 2, add_bias_kv=True)  # bias_k: [1, 1, feature]
    weights = {n for n, _, weight in named_weights(model) if weight}
    assert weights == {"in_proj_weight", "out_proj.weight"}
    INITS["he"](model)
    assert (model.bias_k == 0).all() and (model.in_proj_bias == 0).all()


@pytest.mark.parametrize("init", [n for n in INITS if n != "default"])
def test_tokens_and_positions_are_no_weights(init: str) -> None:
    """They are summed with what comes in, so no n_in says how large they should be."""
    spec = Spec("images", "classification", (3, 32, 32), ("a", "b"))
    model: Any = build("vit", spec, {"width": 64, "depth": 1, "init": init})
    weights = {n for n, _, weight in named_weights(model) if weight}
    assert not weights & {"class_token", "encoder.pos_embedding"}
    assert "conv_proj.weight" in weights and "heads.head.weight" in weights
    of_token, of_places = model.encoder.pos_embedding[0].detach().split([1, 64])
    for drawn in (model.class_token, of_token):
        assert 0.01 < drawn.std() < 0.03
    assert torch.equal(of_places, positions(8, 8, 64))
    rows = {row["name"]: row["init"] for row in parameter_table(model, init)}
    assert rows["class_token"] == rows["encoder.pos_embedding"] == "default"
    assert rows["conv_proj.weight"] == init


def test_he_keeps_the_signal_through_relu_and_default_does_not() -> None:
    torch.manual_seed(0)
    second_moment = {}
    for name in ("he", "default"):
        layers = [m for _ in range(10) for m in (nn.Linear(256, 256), nn.ReLU())]
        model = nn.Sequential(*layers)
        INITS[name](model)
        with torch.no_grad():
            second_moment[name] = model[:-1](torch.randn(256, 256)).square().mean().item()
    assert 0.5 < second_moment["he"] < 8  # 2 in the mean; one draw of ten layers varies
    assert second_moment["default"] < 0.05


def test_equal_weights_stay_equal_units_until_dropout_parts_them() -> None:
    """Symmetry: stochastic descent on batches does not break it, dropout does."""
    for dropout, equal in ((0.0, True), (0.5, False)):
        torch.manual_seed(0)
        layers = [nn.Linear(4, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 2)]
        model: Any = nn.Sequential(*layers)
        INITS["constant"](model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            x = torch.randn(8, 4)
            F.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
            optimizer.zero_grad()
        hidden = model[0].weight.detach()
        assert not torch.equal(hidden, torch.full_like(hidden, 0.1))  # it learned
        assert torch.allclose(hidden, hidden[:1].expand_as(hidden)) == equal


class _Blocks(nn.Sequential):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.block1 = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        self.block2 = nn.Sequential(nn.Linear(3, 3))
        self.attention = nn.MultiheadAttention(4, 2)  # weights of its own, and below it
        self.head = nn.Linear(3, 2)


def _drawn_as(init: str | list[str]) -> dict[str, str]:
    """weight -> "ones", "constant", "zeros", "built" or "random"."""
    torch.manual_seed(0)
    model = _Blocks()
    built = {n: p.detach().clone() for n, p in model.named_parameters()}
    draw_weights(model, init)
    kinds = {}
    for name, p in model.named_parameters():
        if p.dim() >= 2:
            flat = {0.0: "zeros", 1.0: "ones", np.float32(0.1).item(): "constant"}
            same = p.unique().tolist()
            kind = flat.get(same[0], "random") if len(same) == 1 else "random"
            kinds[name] = "built" if torch.equal(p, built[name]) else kind
    return kinds


def test_rules_draw_what_fits_and_later_ones_win() -> None:
    init = ["ones", "block?=constant", "block1.2=he", "*.out_proj=zeros", "head=default"]
    kinds = _drawn_as(init)
    assert kinds == {
        "stem.weight": "ones",
        "block1.0.weight": "constant",
        "block1.2.weight": "random",
        "block2.0.weight": "constant",
        "attention.in_proj_weight": "ones",
        "attention.out_proj.weight": "zeros",
        "head.weight": "built",
    }
    named = {name: init_of(name.rpartition(".")[0], init) for name in kinds}
    assert named == {n: {"random": "he", "built": "default"}.get(k, k) for n, k in kinds.items()}
    assert _drawn_as(["zeros", "block1=ones", "*=constant"]) == dict.fromkeys(kinds, "constant")
    assert _drawn_as("ones") == _drawn_as(["ones"]) == dict.fromkeys(kinds, "ones")


@pytest.mark.parametrize(
    ("init", "says"),
    [
        (["he", "tail=zeros"], r"'tail' fits no module\. There are: .*block1\.2.*head"),
        (["he", "block1.1=zeros"], "fits no module"),  # a ReLU has nothing to draw
        (["he", "head=zero"], "'zero' is no way to draw weights. Did you mean zeros"),
        (["he", "zeros"], "no way to draw"),
        (["head=zeros"], "no way to draw"),
        ([], "no way to draw"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(init: list[str], says: str) -> None:
    with pytest.raises(SettingError, match=says) as caught:
        draw_weights(_Blocks(), init)
    assert caught.value.setting == "model.init"


def test_rules_are_a_setting_of_every_family() -> None:
    spec = Spec("images", "classification", (1, 8, 8), ("a", "b"))
    for name in ("linear", "mlp", "lenet", "convnet"):
        model: Any = build(name, spec, {"init": ["he", "head=zeros"]})
        weights = {n: p for n, p in model.named_parameters() if p.dim() >= 2}
        assert not weights.pop("head.weight").any()
        assert all(w.any() for w in weights.values())
    given = validate({"model.name": "mlp", "model.init": "[he, head=zeros]"})
    assert given["model.init"] == ["he", "head=zeros"]
    assert choices(known()["model"]["mlp"]["init"]) == list(INITS)


@pytest.mark.parametrize(("channels", "groups"), [(64, 8), (32, 8), (6, 1), (12, 3), (1, 1)])
def test_groups_are_equal_and_never_of_one_channel(channels: int, groups: int) -> None:
    assert num_groups(channels) == groups


@pytest.mark.parametrize("name", ["batch", "layer", "group"])
def test_norms_standardise(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 16) * 3 + 5
    maps = torch.randn(64, 16, 5, 5) * 3 + 5
    one, two = norm_1d(name, 16), norm_2d(name, 16)
    assert one is not None and two is not None
    groups = {"layer": 1, "group": 4}
    for y in (one(x).detach(), two(maps).detach()):
        if name == "batch":
            parts = y.transpose(0, 1).flatten(1)  # over the batch (and positions), a unit
        else:
            parts = y.reshape(64 * groups[name], -1)  # over an example's units
        assert torch.allclose(parts.mean(1), torch.zeros(len(parts)), atol=1e-4)
        assert torch.allclose(parts.var(1, unbiased=False), torch.ones(len(parts)), atol=1e-3)
    if name != "batch":
        torch.testing.assert_close(two(maps).detach(), F.group_norm(maps, groups[name]))

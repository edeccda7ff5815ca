"""Each family by itself: sizes, counts of the textbook, dropout's places, and equal results."""

from typing import Any

import pytest
import torch
from torch import nn

from fitwell.errors import SettingError
from fitwell.models import build, convnet, lenet, linear, mlp
from fitwell.nn.activations import ACTIVATIONS, MONOTONE
from fitwell.nn.pooling import MaxPool2d
from fitwell.spec import Spec

TEN = tuple("0123456789")


def images(*shape: int) -> Spec:
    return Spec("images", "classification", shape, TEN)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("size", [*range(4, 34), 48, 63, 64])
@pytest.mark.parametrize("name", ["lenet", "convnet"])
def test_any_size(name: str, size: int) -> None:
    model = build(name, images(1, size, size), {"width": 2}).eval()
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 10)


@pytest.mark.parametrize("shape", [(3, 4, 64), (1, 31, 5), (4, 17, 9), (2, 6, 6)])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ["lenet", "convnet"])
def test_any_shape_and_depth(name: str, shape: tuple[int, int, int], depth: int) -> None:
    model = build(name, images(*shape), {"width": 2, "depth": depth}).eval()
    assert model(torch.zeros(2, *shape)).shape == (2, 10)
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == depth


@pytest.mark.parametrize(("name", "size"), [("lenet", 3), ("convnet", 1)])
def test_too_small_is_said(name: str, size: int) -> None:
    with pytest.raises(SettingError, match=r"data\.image_size"):
        build(name, images(1, size, 28), {})


def test_lenet_has_the_textbook_shapes() -> None:
    """LeCun et al. 1998 as d2l.ai has it: 28x28, padded by 2, average pooling, sigmoid."""
    textbook = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Sigmoid(),
        nn.AvgPool2d(2, stride=2),
        nn.Conv2d(6, 16, 5),
        nn.Sigmoid(),
        nn.AvgPool2d(2, stride=2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.Sigmoid(),
        nn.Linear(120, 84),
        nn.Sigmoid(),
        nn.Linear(84, 10),
    ).eval()
    ours = lenet(images(1, 28, 28), activation="sigmoid", pool="avg").eval()
    renamed = zip(ours.state_dict(), textbook.state_dict().values(), strict=True)
    ours.load_state_dict(dict(renamed))
    x = torch.randn(3, 1, 28, 28)
    assert torch.equal(ours(x), textbook(x))


def _pool_after(model: nn.Sequential) -> nn.Sequential:
    """The same layers with each pooling behind its activation."""
    layers = list(model)
    for i, layer in enumerate(layers[:-1]):
        if isinstance(layer, nn.MaxPool2d):
            layers[i], layers[i + 1] = layers[i + 1], layer
    return nn.Sequential(*layers)


@pytest.mark.parametrize("make", [lenet, convnet])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_pooling_goes_first_only_where_that_is_equal(make: Any, activation: str) -> None:
    torch.manual_seed(0)
    model = make(images(1, 14, 14), activation=activation).train()
    kinds = [type(m) for m in model]
    pool = kinds.index(MaxPool2d)
    act = kinds.index(type(ACTIVATIONS[activation]()))
    assert (pool < act) == (activation in MONOTONE)
    if pool < act:
        x = torch.randn(8, 1, 14, 14)
        results = []
        for net in (model, _pool_after(model)):
            net.zero_grad(set_to_none=True)
            output = net(x)
            output.square().sum().backward()
            results.append([output.detach(), *(p.grad for p in net.parameters())])
        torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [6, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_max_pooling_is_that_of_torch(channels: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, channels, 8, 6).to(dtype).to(memory_format=torch.channels_last)
    ours, theirs = (x.clone(memory_format=torch.preserve_format).requires_grad_() for _ in "ab")
    pooled, expected = MaxPool2d(2)(ours), nn.functional.max_pool2d(theirs, 2)
    assert torch.equal(pooled, expected.to(pooled.dtype))
    weights = torch.randn_like(expected)
    (pooled * weights).sum().backward()
    (expected * weights).sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


def test_average_pooling_goes_after_the_activation() -> None:
    kinds = [type(m) for m in lenet(images(1, 28, 28), pool="avg")]
    assert kinds.index(nn.ReLU) < kinds.index(nn.AvgPool2d)


def test_convnet_is_the_one_that_was_measured() -> None:
    """conv without bias - batch norm - max pool - ReLU; 32 and 64 channels, 128 units, head."""
    model = convnet(images(1, 28, 28), dropout=0.5)
    block = [nn.Conv2d, nn.BatchNorm2d, MaxPool2d, nn.ReLU]
    dense = [nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout, nn.Linear]
    assert [type(m) for m in model] == [*block, *block, *dense]
    convolutions = [m for m in model if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.bias) for c in convolutions] == [(32, None), (64, None)]
    assert [m.out_features for m in model if isinstance(m, nn.Linear)] == [128, 10]
    assert convnet(images(1, 28, 28), norm="none")[0].bias is not None


def test_channels_double_up_to_a_limit() -> None:
    model = convnet(images(1, 8, 8), width=4, depth=6)
    widths = [m.out_channels for m in model if isinstance(m, nn.Conv2d)]
    assert widths == [4, 8, 16, 32, 32, 32]


def test_counts() -> None:
    table = Spec("table", "classification", (4,), ("a", "b", "c"))
    assert count(linear(table)) == 4 * 3 + 3
    assert count(mlp(table, width=8, depth=2)) == (4 + 1) * 8 + (8 + 1) * 8 + (8 + 1) * 3
    assert count(mlp(table, width=8, depth=1, norm="batch")) == 4 * 8 + 2 * 8 + 9 * 3


def test_linear_is_a_matrix_product() -> None:
    model = linear(images(2, 3, 4))
    x = torch.randn(5, 2, 3, 4)
    head: Any = model[-1]
    torch.testing.assert_close(model(x), x.reshape(5, 24) @ head.weight.T + head.bias)


@pytest.mark.parametrize(
    ("make", "rates", "kinds"),
    [
        (mlp, [0.2, 0.5], [nn.Dropout, nn.Dropout]),
        (lenet, [0.2, 0.5], [nn.Dropout, nn.Dropout]),
        (convnet, [0.1, 0.2, 0.5], [nn.Dropout2d, nn.Dropout2d, nn.Dropout]),
    ],
)
def test_dropout_by_layer(make: Any, rates: list[float], kinds: list[type]) -> None:
    model = make(images(1, 8, 8), dropout=rates)
    found = [m for m in model if isinstance(m, nn.Dropout | nn.Dropout2d)]
    assert [m.p for m in found] == rates and [type(m) for m in found] == kinds
    with pytest.raises(SettingError, match="rates") as caught:
        make(images(1, 8, 8), dropout=[0.5] * 9)
    assert caught.value.setting == "model.dropout"


@pytest.mark.parametrize("make", [mlp, lenet, convnet])
def test_dropout_scales_in_training_and_is_gone_in_evaluation(make: Any) -> None:
    torch.manual_seed(0)
    model = make(images(1, 8, 8), dropout=0.25)
    drop = next(m for m in model if isinstance(m, nn.Dropout))
    y = drop(torch.ones(20_000))
    assert sorted(set(y.tolist())) == pytest.approx([0, 1 / 0.75])
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.015)
    x = torch.randn(4, 1, 8, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
    plain = make(images(1, 8, 8)).eval()
    plain.load_state_dict(model.state_dict())  # dropout has no weights and renames none
    assert torch.equal(model(x), plain(x))


def test_zero_weights_stay_alike_but_dropout_parts_them() -> None:
    """Symmetry: units that start equal stay equal under minibatch SGD, and dropout breaks it."""
    table = Spec("table", "classification", (4,), ("a", "b"))

    def distinct(dropout: float) -> int:
        torch.manual_seed(0)
        model: Any = mlp(table, width=6, depth=1, activation="tanh", dropout=dropout)
        with torch.no_grad():
            for p in model.parameters():
                p.fill_(0.1)
            model[-1].weight[1].fill_(-0.1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(20):
            x = torch.randn(8, 4)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
        rows = model[1].weight.detach()
        return len({tuple(round(v, 5) for v in row) for row in rows.tolist()})

    assert distinct(0.0) == 1 and distinct(0.5) > 1


def test_layer_norm_of_one_unit_is_refused() -> None:
    with pytest.raises(SettingError, match="constant"):
        mlp(images(1, 4, 4), width=1, norm="layer")

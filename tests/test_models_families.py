"""Each family by itself: sizes, counts of the textbook, dropout's places, and equal results."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from fitwell.errors import SettingError
from fitwell.models import alexnet, build, convnet, lenet, linear, mlp, vit
from fitwell.models.vit import positions
from fitwell.nn.activations import ACTIVATIONS, MONOTONE
from fitwell.nn.droppath import DropPath
from fitwell.nn.pooling import MaxPool2d
from fitwell.settings import validate
from fitwell.show import layer_table
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


# The smallest side that each can take, with its large stem where it has one.
SMALLEST: list[tuple[str, dict[str, Any], int]] = [
    ("lenet", {"width": 2}, 4),
    ("convnet", {"width": 2}, 2),
    ("alexnet", {"width": 6, "stem": "large"}, 65),
    ("alexnet", {"width": 6, "stem": "large", "version": "torchvision"}, 63),
    ("vgg", {"width": 2, "stem": "large"}, 32),
    ("nin", {"width": 6, "stem": "large"}, 67),
    ("googlenet", {"width": 4}, 8),
    ("googlenet", {"width": 4, "stem": "large"}, 15),
    ("densenet", {"growth": 2}, 4),
    ("densenet", {"growth": 2, "depth": 121}, 8),
    ("densenet", {"growth": 2, "depth": 121, "stem": "large"}, 29),
    ("vit", {"width": 8, "depth": 1, "patch": 5}, 5),
]


@pytest.mark.parametrize(("name", "settings", "size"), SMALLEST)
def test_too_small_is_said(name: str, settings: dict[str, Any], size: int) -> None:
    model = build(name, images(1, size, size), settings).eval()
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 10)
    with pytest.raises(SettingError, match=rf"at least {size}x{size}.*data\.image_size") as caught:
        build(name, images(1, size - 1, 100), settings)
    assert f"model.name={name}" in caught.value.message


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("name", ["alexnet", "vgg", "nin", "resnet", "vit"])
def test_small_stems_take_any_size(name: str, side: int) -> None:
    settings = {"width": 8, "depth": 1} if name == "vit" else {"width": 4}
    model = build(name, images(1, side, side), settings).eval()
    assert model(torch.zeros(2, 1, side, side)).shape == (2, 10)


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
    with torch.device("meta"):  # without a limit the last of a hundred would have 10^31 channels
        deep = lenet(images(1, 28, 28), depth=100)
    widths = [m.out_channels for m in deep if isinstance(m, nn.Conv2d)]
    assert widths == [6, 16, 32, 64, *[128] * 96]


def test_counts() -> None:
    table = Spec("table", "classification", (4,), ("a", "b", "c"))
    assert count(linear(table)) == 4 * 3 + 3
    assert count(mlp(table, width=8, depth=2)) == (4 + 1) * 8 + (8 + 1) * 8 + (8 + 1) * 3
    assert count(mlp(table, width=8, depth=1, norm="batch")) == 4 * 8 + 2 * 8 + 9 * 3


@pytest.mark.parametrize(
    ("name", "settings", "parameters"),
    [
        ("alexnet", {"version": "torchvision"}, 61_100_840),
        ("vgg", {"depth": 11, "norm": "none"}, 132_863_336),
        ("vgg", {"depth": 16, "norm": "none"}, 138_357_544),
        ("googlenet", {}, 6_624_904),
        ("inception", {}, 6_624_904),
        ("resnet", {"depth": 18}, 11_689_512),
        ("resnet", {"depth": 50}, 25_557_032),
        ("resnet", {"depth": 152}, 60_192_808),
        ("densenet", {"depth": 121}, 7_978_856),
        ("densenet", {"depth": 201}, 20_013_928),
        ("vit", {"width": 768, "depth": 12, "heads": 12, "patch": 16}, 86_567_656),
    ],
)
def test_published_counts(name: str, settings: dict[str, Any], parameters: int) -> None:
    """At 224x224 and 1,000 classes."""
    classes = tuple(str(i) for i in range(1000))
    with torch.device("meta"):
        model = build(name, Spec("images", "classification", (3, 224, 224), classes), settings)
    assert count(model) == parameters


def test_counts_of_the_papers_small_networks() -> None:
    """ResNet-20 to 110 have 0.27 to 1.7 million (table 6), DenseNet-BC-100 with k = 12 0.8 (table 2)."""

    def millions(name: str, **settings: Any) -> float:
        with torch.device("meta"):
            return count(build(name, images(3, 32, 32), settings)) / 1e6

    sizes = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}
    for depth, size in sizes.items():
        # Ours has a 1x1 convolution on two shortcuts, where the paper's have no parameters.
        assert millions("resnet", depth=depth, width=16) == pytest.approx(size, rel=0.03)
    assert millions("densenet", depth=100, growth=12) == pytest.approx(0.8, abs=0.05)


def test_alexnet_has_the_textbook_shapes() -> None:
    rows = layer_table(alexnet(images(1, 224, 224)), images(1, 224, 224))
    kinds = ("Conv2d", "MaxPool2d", "Flatten", "Linear")
    shapes = ["x".join(map(str, row["output"])) for row in rows if row["kind"] in kinds]
    assert shapes == [
        *("96x54x54", "96x26x26", "256x26x26", "256x12x12", "384x12x12", "384x12x12"),
        *("256x12x12", "256x5x5", "6400", "4096", "4096", "10"),
    ]


@pytest.mark.parametrize("name", ["alexnet", "vgg", "nin", "googlenet", "resnet", "densenet"])
def test_the_stem_is_chosen_by_size(name: str) -> None:
    def first(side: int, stem: str) -> tuple[tuple[int, ...], ...]:
        with torch.device("meta"):
            model = build(name, images(3, side, 128), {"stem": stem})
        return tuple(tuple(p.shape) for p in model.parameters())

    assert first(95, "auto") == first(95, "small") != first(95, "large")
    assert first(96, "auto") == first(96, "large") != first(96, "small")


@pytest.mark.parametrize(("name", "depth"), [("resnet", 19), ("vgg", 12), ("densenet", 50)])
def test_depths_that_a_family_lacks_are_refused_with_the_list(name: str, depth: int) -> None:
    with pytest.raises(SettingError, match=r"Choose one of: \d+, \d+") as caught:
        validate({"model.name": name, "model.depth": depth})
    assert caught.value.setting == "model.depth"


@pytest.mark.parametrize(("rows", "columns", "width"), [(3, 4, 8), (2, 5, 10), (1, 1, 3)])
def test_positions_are_waves_of_row_and_column(rows: int, columns: int, width: int) -> None:
    found = positions(rows, columns, width)
    q = width // 4
    for row, column in itertools.product(range(rows), range(columns)):
        angles = [axis / 10_000 ** (k / q) for axis in (row, column) for k in range(q)]
        waves = [
            [f(a) for a in half] for half in (angles[:q], angles[q:]) for f in (math.sin, math.cos)
        ]
        want = [*itertools.chain(*waves), *[0.0] * (width - 4 * q)]
        assert found[row * columns + column].tolist() == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("stem", ["large", "small"])
def test_vit_pads_what_patches_do_not_cover(stem: Any) -> None:
    torch.manual_seed(0)
    model = vit(images(1, 9, 14), width=8, depth=1, heads=2, patch=4, stem=stem).eval()
    x = torch.randn(2, 1, 9, 14)
    even = vit(images(1, 12, 16), width=8, depth=1, heads=2, patch=4, stem=stem).eval()
    even.load_state_dict(model.state_dict())
    assert torch.equal(model(x), even(nn.functional.pad(x, (0, 2, 0, 3))))


@pytest.mark.parametrize(
    ("patch", "kernels"),
    [
        (4, [(8, 1, 3, 3), (16, 8, 3, 3), (16, 16, 1, 1)]),
        (6, [(16, 1, 3, 3), (16, 16, 3, 3)]),
        (5, [(16, 1, 3, 3), (16, 16, 5, 5)]),
        (1, [(16, 1, 3, 3), (16, 16, 1, 1)]),
    ],
)
def test_the_small_stem_of_vit_halves_as_often_as_a_patch_can_be(
    patch: int, kernels: list[tuple[int, ...]]
) -> None:
    spec = images(1, 13, 24)
    model = vit(spec, width=16, depth=1, patch=patch, stem="small").eval()
    stem: Any = model.conv_proj
    assert [tuple(w.shape) for w in stem.parameters() if w.ndim == 4] == kernels
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in stem) == len(kernels) - 1
    assert any(isinstance(layer, nn.GELU) for layer in stem)
    x = torch.zeros(1, 1, 13, 24)
    tokens = stem(model.pad(x))
    projected = vit(spec, width=16, depth=1, patch=patch)
    assert tokens.shape == projected.conv_proj(projected.pad(x)).shape


def test_a_patch_larger_than_the_image_names_one_that_fits() -> None:
    with pytest.raises(
        SettingError, match=r"Set data\.image_size=16, or model\.patch=1\."
    ) as caught:
        vit(images(1, 8, 9), patch=16)
    assert caught.value.setting == "model.patch"


def test_vit_heads_must_share_the_width() -> None:
    with pytest.raises(SettingError, match=r"model\.width=12") as caught:
        vit(images(1, 8, 8), width=11, heads=4)
    assert caught.value.setting == "model.heads"


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_drop_path_rises_in_a_straight_line(name: str) -> None:
    depth = {"resnet": 18, "vit": 8}[name]
    model = build(name, images(1, 8, 8), {"depth": depth, "width": 8, "drop_path": 0.4})
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.05 * i for i in range(1, 9)])


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

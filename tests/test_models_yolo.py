"""The detector: what the contract of models asks, and that it learns eight pictures by heart."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_boxes import scenes, write_voc
from resuming import ends_the_same
from torch import Tensor

from fitwell.data import read
from fitwell.errors import SettingError
from fitwell.metrics import map50
from fitwell.models import build
from fitwell.nn.boxes import places_of
from fitwell.nn.losses import LOSSES
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.tasks.detection import decode
from fitwell.weights import fit_weights

SPEC = Spec("boxes", "detection", (3, 64, 64), ("red", "green"))


def pictures(count: int) -> tuple[Tensor, Tensor]:
    """Dark pictures with a red rectangle, half of them with a green one."""
    rng = np.random.default_rng(0)
    x = torch.zeros(count, 3, 64, 64)
    y = torch.full((count, 2, 5), torch.nan)
    for i in range(count):
        for k in range(1 + i % 2):
            left, top = 4 + int(rng.integers(16)) + 30 * k, 4 + int(rng.integers(24))
            wide, high = (12 + int(n) for n in rng.integers(0, 10, 2))
            x[i, k, top : top + high, left : left + wide] = 1
            y[i, k] = torch.tensor([k, left, top, min(left + wide, 64), top + high])
    return x, y


def test_eight_pictures_are_learned_by_heart() -> None:
    torch.manual_seed(0)
    model, loss = build("yolo", SPEC, {}), LOSSES["boxes"]()
    x, y = pictures(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model(x), y).mean().backward()
        optimizer.step()
    with torch.no_grad():  # its own statistics: those that run are not yet there after 60 steps
        said = decode(model(x).numpy(), None, lambda numbers: numbers).prediction
    assert map50(y.numpy(), said) > 0.9


def test_places_stand_where_the_picture_s_do() -> None:
    model = build("yolo", SPEC, {}).eval()
    with torch.no_grad():
        places = places_of(model(torch.randn(1, 3, 64, 96)))
    assert places.strides.unique().tolist() == [8, 16, 32]
    for stride, (high, wide) in {8: (8, 12), 16: (4, 6), 32: (2, 3)}.items():
        own = places.centres[places.strides == stride]
        assert own[:2].tolist() == [[stride / 2, stride / 2], [1.5 * stride, stride / 2]]
        assert own[-1].tolist() == [(wide - 0.5) * stride, (high - 0.5) * stride]
    assert (places.corners[..., 2:] > places.corners[..., :2]).all()


@pytest.mark.parametrize("side", [33, 50, 97])
def test_sides_need_not_be_multiples_of_32(side: int) -> None:
    out = build("yolo", SPEC, {}).eval()(torch.randn(1, 3, side, side + 7))
    assert out.shape[2] == 9 and out.isfinite().all()


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model, (x, y) = build("yolo", SPEC, {"norm": "group"}), pictures(4)
    y[0, 0, 1:] = torch.tensor([2.0, 2, 62, 62])  # one for the places of the coarsest map
    LOSSES["boxes"]()(model(x), y).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_pictures_do_not_depend_on_each_other() -> None:
    torch.manual_seed(0)
    model, (x, _) = build("yolo", SPEC, {}).eval(), pictures(3)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]), atol=1e-4, rtol=1e-4)


def test_a_resumed_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    """Mosaic and the closing epoch without it are of the epoch and step alone."""
    data = read(str(write_voc(tmp_path / "things", scenes(8))), {"image_size": 64})
    settings = {"train.epochs": 3, "train.batch_size": 4, "augment.closing": 0.3}
    ends_the_same(data, complete(settings, data.spec), tmp_path, after=1)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_weights_of_other_classes_leave_their_logits_new(classes: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    before, model = build("yolo", SPEC, {}), build("yolo", replace(SPEC, classes=classes), {})
    fitted = fit_weights(model, before.state_dict(), new_head=True)
    assert {name.rpartition(".")[0] for name in fitted.new} == {
        f"heads.{i}.classes" for i in range(3)
    }
    kept = model.state_dict()
    assert all(torch.equal(kept[name], before.state_dict()[name]) for name in fitted.loaded)


def test_sizes_grow() -> None:
    counts = [
        sum(p.numel() for p in build("yolo", SPEC, {"size": size}).parameters())
        for size in ("nano", "small", "medium")
    ]
    assert counts == sorted(counts) and 2e6 < counts[0] < 3e6


def test_an_untrained_one_says_nothing_surely() -> None:
    torch.manual_seed(0)
    said = build("yolo", SPEC, {}).eval()(torch.randn(2, 3, 64, 64))
    assert said[..., 7:].sigmoid().max() < 0.05


@pytest.mark.parametrize("shape", [(3, 31, 64), (5,)])
def test_what_it_cannot_read_is_refused(shape: Any) -> None:
    with pytest.raises(SettingError, match=r"model\.name"):
        build("yolo", Spec("boxes", "detection", shape, ("a",)), {})
    with pytest.raises(SettingError, match="finds boxes"):
        build("yolo", Spec("images", "classification", (3, 64, 64), ("a", "b")), {})

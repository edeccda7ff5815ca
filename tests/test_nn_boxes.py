"""Boxes and their loss against slow references, written box by box."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.ops import complete_box_iou, generalized_box_iou

from fitwell.data.letterbox import overlaps
from fitwell.nn.boxes import ciou, corners_of, giou, iou, num_boxes, places_of
from fitwell.nn.losses import LOSSES, training_loss
from fitwell.nn.losses.detection import TOP, aligned

STRIDES = {8: 8, 16: 4, 32: 2}  # stride -> places along a side, of pictures of 64x64


def some_boxes(count: int, seed: int, side: float = 64.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.7 * side, (count, 2))
    high = np.minimum(low + rng.uniform(3, 0.6 * side, (count, 2)), side)
    return torch.from_numpy(np.concatenate([low, high], 1).astype(np.float32))


def grid() -> tuple[torch.Tensor, torch.Tensor]:
    """Centres [place, 2] and strides [place]."""
    rows = [
        ((x + 0.5) * stride, (y + 0.5) * stride, stride)
        for stride, side in STRIDES.items()
        for y in range(side)
        for x in range(side)
    ]
    table = torch.tensor(rows, dtype=torch.float32)
    return table[:, :2], table[:, 2]


def outputs_of(seed: int, batch: int = 3, classes: int = 4) -> torch.Tensor:
    torch.manual_seed(seed)
    centres, strides = grid()
    place = torch.cat([centres, strides[:, None]], 1).expand(batch, -1, -1)
    sides = torch.rand(batch, len(centres), 4) * 3
    return torch.cat([place, sides, torch.randn(batch, len(centres), classes)], 2)


def targets_of(counts: list[int], seed: int, classes: int = 4) -> torch.Tensor:
    target = torch.full((len(counts), max(1, *counts), 5), torch.nan)
    for i, count in enumerate(counts):
        target[i, :count, 0] = torch.arange(count) % classes
        target[i, :count, 1:] = some_boxes(count, seed + i)
    return target


def test_overlaps_are_those_of_others() -> None:
    one, other = some_boxes(12, 0), some_boxes(9, 1)
    pairs = one[:, None], other[None]
    expected = overlaps(one.double().numpy(), other.double().numpy())
    np.testing.assert_allclose(iou(*pairs).numpy(), expected, atol=1e-5)
    torch.testing.assert_close(giou(*pairs), generalized_box_iou(one, other), atol=1e-5, rtol=0)
    torch.testing.assert_close(ciou(*pairs), complete_box_iou(one, other), atol=1e-5, rtol=0)


def test_overlaps_have_a_gradient_where_boxes_do_not_touch() -> None:
    box = torch.tensor([0.0, 0, 4, 4], requires_grad=True)
    far = torch.tensor([20.0, 20, 24, 24])
    for measure, pulls in ((iou, False), (giou, True), (ciou, True)):
        (slope,) = torch.autograd.grad(measure(box, far), box)
        assert slope.isfinite().all() and bool(slope[:2].abs().sum() > 0) == pulls


def test_distances_lead_back_to_the_corners() -> None:
    boxes = some_boxes(7, 3)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + 0.3
    distances = torch.cat([centres - boxes[:, :2], boxes[:, 2:] - centres], 1)
    torch.testing.assert_close(corners_of(centres, distances), boxes)


def slowly_aligned(
    centres: Any, finest: float, corners: Any, scores: Any, target: Any
) -> list[tuple[int, float]]:
    """(box, strength) of each place of one picture; -1: it does not answer."""
    places, objects = range(len(centres)), [i for i, row in enumerate(target) if row[0] == row[0]]
    share = {(b, p): float(iou(target[b, 1:], corners[p])) for b in objects for p in places}
    wants: dict[int, set[int]] = {}
    fit: dict[tuple[int, int], float] = {}
    for b in objects:
        x1, y1, x2, y2 = (float(v) for v in target[b, 1:])
        half = max((x2 - x1) / 2, finest / 2 + 1e-3), max((y2 - y1) / 2, finest / 2 + 1e-3)
        middle = (x1 + x2) / 2, (y1 + y2) / 2
        inside = [
            p
            for p in places
            if all(abs(float(centres[p, a]) - middle[a]) < half[a] for a in (0, 1))
        ]
        for p in inside:
            fit[b, p] = float(scores[p, int(target[b, 0])]) * share[b, p] ** 6
        wants[b] = set(sorted(inside, key=lambda p, b=b: -fit[b, p])[:TOP])
    owner = {}
    for p in places:
        rivals = [b for b in objects if p in wants[b]]
        if rivals:
            owner[p] = max(rivals, key=lambda b: share[b, p])
    found = []
    for p in places:
        if p not in owner:
            found.append((-1, 0.0))
            continue
        own = [q for q, b in owner.items() if b == owner[p]]
        most, well = max(fit[owner[p], q] for q in own), max(share[owner[p], q] for q in own)
        found.append((owner[p], fit[owner[p], p] / most * well if most else 0.0))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_places_answer_as_told_box_by_box(seed: int) -> None:
    places = places_of(outputs_of(seed))
    target = targets_of([6, 0, 2], 10 * seed)
    target[2, 1, 1:] = torch.tensor([30.1, 30.1, 30.9, 30.6])  # smaller than a place
    scores = places.logits.sigmoid()
    answers, box, strength = aligned(places.centres, 8.0, places.corners, scores, target)
    for i in range(3):
        expected = slowly_aligned(places.centres, 8.0, places.corners[i], scores[i], target[i])
        assert [int(b) if a else -1 for a, b in zip(answers[i], box[i], strict=True)] == [
            b for b, _ in expected
        ]
        torch.testing.assert_close(
            strength[i], torch.tensor([s for _, s in expected]), atol=1e-5, rtol=1e-4
        )
    assert not answers[1].any()


def test_a_box_smaller_than_a_place_has_one() -> None:
    places = places_of(outputs_of(0, batch=1))
    target = torch.tensor([[[0.0, 30.1, 30.1, 30.9, 30.6]]])
    scores = places.logits.sigmoid()
    assert aligned(places.centres, 8.0, places.corners, scores, target).answers.any()


@pytest.mark.parametrize(("overlap", "gamma"), [("ciou", 0.0), ("giou", 2.0)])
def test_the_loss_is_that_of_its_formula(overlap: Any, gamma: float) -> None:
    said, target = outputs_of(5), targets_of([4, 0, 1], 7)
    loss = LOSSES["boxes"](overlap=overlap, gamma=gamma, box_weight=3.0)
    measure = {"ciou": ciou, "giou": giou}[overlap]
    places = places_of(said)
    scores = places.logits.sigmoid()
    for i, value in enumerate(loss(said, target).tolist()):
        found = slowly_aligned(places.centres, 8.0, places.corners[i], scores[i], target[i])
        classes, apart, sure = 0.0, [], 0.0
        for p, (b, strength) in enumerate(found):
            for k, chance in enumerate(scores[i, p].tolist()):
                q = strength if b >= 0 and int(target[i, b, 0]) == k else 0.0
                surprise = -q * math.log(chance) - (1 - q) * math.log(1 - chance)
                classes += abs(q - chance) ** gamma * surprise
            if b >= 0:
                off = 1 - float(measure(places.corners[i, p], target[i, b, 1:]))
                apart.append(off)
                classes += 3.0 * strength * off
                sure += strength
        lost = max(0.0, 1 - sure) * np.mean(apart) if apart else 0.0
        assert (lost > 0) == (i == 2)
        assert value == pytest.approx((classes + 3.0 * lost) / max(1.0, sure), rel=1e-4)


def test_a_picture_s_loss_knows_neither_the_others_nor_the_order_of_its_boxes() -> None:
    said, target = outputs_of(1), targets_of([5, 2, 3], 1)
    loss = LOSSES["boxes"]()
    whole = loss(said, target)
    torch.testing.assert_close(loss(said[1:2], target[1:2, :2]), whole[1:2])
    torch.testing.assert_close(loss(said, target.flip(1)), whole)


def test_pictures_are_trained_on_as_often_as_they_have_boxes() -> None:
    said, target = outputs_of(2), targets_of([5, 0, 3], 2)
    loss = LOSSES["boxes"]()
    assert num_boxes(target).tolist() == [5, 1, 3]
    trained = training_loss(loss, torch.tensor([1, 1, 1, 1]))(said, target)
    torch.testing.assert_close(trained, loss(said, target) * torch.tensor([5.0, 1, 3]))


def test_the_gradient_is_that_of_differences() -> None:
    """In float64, where places answer alike before and after a small step."""
    said, target = outputs_of(3, batch=1).double(), targets_of([3], 4).double()
    said.requires_grad_(True)
    loss = LOSSES["boxes"]()
    (slope,) = torch.autograd.grad(loss(said, target).sum(), said)
    places = places_of(said.detach())
    answers, box, strength = aligned(
        places.centres, 8.0, places.corners, places.logits.sigmoid(), target
    )
    # The strengths are not differentiated, so what is compared holds them still: the classes' part alone
    # has a known slope, (p - q) / sum of strengths.
    asked = torch.zeros_like(places.logits)
    for p in torch.nonzero(answers[0])[:, 0].tolist():
        asked[0, p, int(target[0, box[0, p], 0])] = strength[0, p]
    expected = (places.logits.sigmoid() - asked) / strength.sum().clamp(min=1)
    torch.testing.assert_close(slope[..., 7:], expected)
    assert not slope[..., 3:7][~answers].any() and slope[..., 3:7][answers].any()


def test_decoded_boxes_are_the_best_of_those_that_overlap() -> None:
    from fitwell.tasks.detection import decode

    said = outputs_of(6, batch=2)
    found = decode(said.numpy(), None, lambda numbers: numbers).prediction
    for boxes in found:
        boxes = boxes[~np.isnan(boxes[:, 0])]
        assert 0 < len(boxes) <= 300 and (np.diff(boxes[:, 5]) <= 0).all()
        for one, other in itertools.combinations(boxes, 2):
            if one[0] == other[0]:
                assert overlaps(one[None, 1:5], other[None, 1:5])[0, 0] <= 0.6 + 1e-6


@pytest.mark.parametrize("changed", [{"overlap": "iou"}, {"box_weight": 5.0}, {"gamma": 2.0}])
def test_every_setting_changes_the_loss(changed: dict[str, Any]) -> None:
    said, target = outputs_of(8), targets_of([4, 2, 1], 8)
    assert not torch.equal(
        LOSSES["boxes"](**changed)(said, target), LOSSES["boxes"]()(said, target)
    )


def test_only_boxes_of_a_class_are_doubled_and_only_from_0_6_on() -> None:
    from fitwell.tasks.detection import decode

    place = [8.0, 8, 8, 1, 1, 1]  # 0 to 16 across, 0 to 8 and what follows down
    said = [
        [*place, 1.0, 5, -9],
        [*place, 1.0, -9, 4],
        [*place, 0.1, 3, -9],  # 0.55 of the first
        [*place, 0.3, 2, -9],  # 0.65
    ]
    (found,) = decode(np.array([said], np.float32), None, lambda numbers: numbers).prediction
    kept = found[~np.isnan(found[:, 0])]
    assert kept[:, 0].tolist() == [0, 1, 0]
    np.testing.assert_allclose(kept[:, 1:5], [[0, 0, 16, 16], [0, 0, 16, 16], [0, 0, 16, 8.8]])
    np.testing.assert_allclose(kept[:, 5], 1 / (1 + np.exp([-5.0, -4.0, -3.0])), rtol=1e-5)


def test_the_weight_of_the_proportions_has_no_gradient() -> None:
    one, other = some_boxes(9, 0).double().requires_grad_(), some_boxes(9, 1).double()
    (ours,) = torch.autograd.grad(ciou(one, other).sum(), one)
    (theirs,) = torch.autograd.grad(complete_box_iou(one, other).diagonal().sum(), one)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_ten_places_answer_for_a_large_box() -> None:
    places = places_of(outputs_of(0, batch=1))
    target = torch.tensor([[[0.0, 1, 1, 63, 63]]])
    scores = places.logits.sigmoid()
    assert aligned(places.centres, 8.0, places.corners, scores, target).answers.sum() == 10


def test_a_network_that_throws_its_boxes_away_has_a_loss() -> None:
    """No place has any strength then: nothing overlaps, or no score is left."""
    target = torch.tensor([[[0.0, 16, 16, 40, 40]]])
    said = outputs_of(0, batch=1)
    said[..., 7:] = -100
    far = said.clone()
    far[..., 3:7] = 1e4
    for thrown in (said, far):
        thrown.requires_grad_()
        loss = LOSSES["boxes"]()(thrown, target)
        assert loss > 1
        loss.backward()
        assert thrown.grad is not None and thrown.grad.abs().max() < 1e-6  # as of the published one

"""Batches: every example once, the order of (seed, epoch), both memory paths equal."""

import numpy as np
import pytest
import torch

from fitwell.data import feeds, preprocess, read
from fitwell.data.batches import Batches

ROWS = np.arange(3, 1000, 3)


def make(source: str = "digits", rows: np.ndarray = ROWS, **settings: object) -> Batches:
    data = read(source)
    rows = rows[rows < len(data)]
    fitted = preprocess.fit(data, rows)
    values = {"batch_size": 32, "seed": 0, **settings}
    return Batches(data.inputs, data.targets, rows, preprocess=fitted, **values)  # type: ignore[arg-type]


def test_every_example_once_an_epoch_and_the_last_batch_is_kept() -> None:
    data, made = read("digits"), make()
    seen = list(made.epoch(0))
    assert len(seen) == len(made) == 11
    assert [len(b.index) for b in seen] == [32] * 10 + [333 - 320]
    index = torch.cat([b.index for b in seen])
    assert sorted(index.tolist()) == ROWS.tolist()
    x = torch.cat([b.x for b in seen])
    y = torch.cat([b.y for b in seen])
    np.testing.assert_array_equal(x.numpy(), made.preprocess.inputs(data.inputs[index.numpy()]))
    np.testing.assert_array_equal(y.numpy(), data.targets[index.numpy()])
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64


def test_order_depends_on_seed_and_epoch_only() -> None:
    orders = {(s, e): tuple(make(seed=s).order(e)) for s in (0, 1) for e in (0, 1)}
    assert len(set(orders.values())) == 4
    assert tuple(make(seed=1, batch_size=7).order(1)) == orders[1, 1]
    torch.manual_seed(5)
    np.random.seed(5)
    assert tuple(make(seed=0).order(0)) == orders[0, 0]


def test_an_epoch_goes_on_where_it_stopped() -> None:
    made = make()
    whole = [b.index.tolist() for b in made.epoch(2)]
    assert [b.index.tolist() for b in made.epoch(2, start=4)] == whole[4:]


def test_evaluation_keeps_the_order_of_the_rows() -> None:
    made = make(shuffle=False)
    assert torch.cat([b.index for b in made.epoch(7)]).tolist() == ROWS.tolist()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("source", ["digits", "wine"])
def test_converting_a_batch_gives_what_keeping_floats_gives(
    monkeypatch: pytest.MonkeyPatch, channels_last: bool, source: str
) -> None:
    kept = make(source, channels_last=channels_last)
    monkeypatch.setattr(feeds, "MOST_FLOAT_BYTES", 0)
    converted = make(source, channels_last=channels_last)
    assert kept.feed.ready
    assert not converted.feed.ready
    for a, b in zip(kept.epoch(1), converted.epoch(1), strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.y, b.y)
        torch.testing.assert_close(a.x, b.x, rtol=0, atol=1e-6)
        if a.x.ndim == 4 and channels_last:
            assert a.x.is_contiguous(memory_format=torch.channels_last)
            assert b.x.is_contiguous(memory_format=torch.channels_last)


def test_colour_images_are_really_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    data = read((x, np.arange(40) % 2))
    rows = np.arange(40)
    fitted = preprocess.fit(data, rows)
    for limit in (2**30, 0):
        monkeypatch.setattr(feeds, "MOST_FLOAT_BYTES", limit)
        made = Batches(
            data.inputs,
            data.targets,
            rows,
            batch_size=16,
            preprocess=fitted,
            channels_last=True,
        )
        for batch in made.epoch(0):
            assert batch.x.stride()[1] == 1
            np.testing.assert_allclose(
                batch.x.numpy(), fitted.inputs(data.inputs[batch.index.numpy()]), atol=1e-6
            )


def test_large_uint8_data_is_shared_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MOST_FLOAT_BYTES", 0)
    data = read("digits")
    fitted = preprocess.fit(data, ROWS)
    made = Batches(data.inputs, data.targets, ROWS, batch_size=9, preprocess=fitted)
    assert made.feed.x.data_ptr() == data.inputs.ctypes.data
    before = data.inputs.copy()
    list(made.epoch(0))
    np.testing.assert_array_equal(data.inputs, before)  # the in-place arithmetic is on the batch


def test_regression_targets_are_standardised() -> None:
    made = make("diabetes")
    y = torch.cat([b.y for b in made.epoch(0)])
    assert y.dtype == torch.float32
    assert float(y.mean()) == pytest.approx(0, abs=1e-5)
    assert float(y.std(correction=0)) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(("examples", "size", "sizes"), [(9, 4, [4, 5]), (10, 4, [4, 4, 2])])
def test_a_last_example_alone_joins_the_batch_before(
    examples: int, size: int, sizes: list[int]
) -> None:
    data = read((np.random.default_rng(0).random((40, 3)), np.arange(40) % 2), {})
    rows = np.arange(examples)
    batches = Batches(
        data.inputs,
        data.targets,
        rows,
        batch_size=size,
        preprocess=preprocess.fit(data, rows),
    )
    epoch = list(batches.epoch(0))
    assert [len(batch.y) for batch in epoch] == sizes and len(batches) == len(sizes)
    assert sorted(np.concatenate([batch.index for batch in epoch])) == list(rows)


@pytest.mark.parametrize("most_float", [0, feeds.MOST_FLOAT_BYTES])
def test_the_first_examples_are_those_of_an_epoch_in_its_own_order(
    monkeypatch: pytest.MonkeyPatch, most_float: int
) -> None:
    monkeypatch.setattr(feeds, "MOST_FLOAT_BYTES", most_float)
    made = make(shuffle=False)
    first, whole = made.first(20), next(made.epoch(0))
    assert torch.equal(first.x, whole.x[:20]) and torch.equal(first.y, whole.y[:20])
    assert torch.equal(first.index, whole.index[:20])
    assert len(made.first(10_000).index) == len(ROWS)

"""Splits: disjoint, complete, stratified, grouped, reproducible; compared with scikit-learn."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

import fitwell as fw
from fitwell.data import Data, Rows, read
from fitwell.data.split import final_rows, fit_rows, fold_rows, reason
from fitwell.errors import SettingError


def toy(labels: list[int] | np.ndarray, part: np.ndarray | None = None) -> Data:
    y = np.asarray(labels)
    x = np.random.default_rng(0).normal(size=(len(y), 3))
    data = read((x, y), {"task": "classification"})
    return data if part is None else replace(data, part=part)


def everything(rows: Rows) -> np.ndarray:
    return np.concatenate([rows.train, rows.validation, rows.held_out])


LABELS = np.repeat([0, 1, 2], [60, 30, 13])


def test_fit_rows_cover_everything_once_in_the_asked_shares() -> None:
    data = toy(LABELS)
    rows = fit_rows(data, {"test": 0.2, "validation": 0.25}, seed=3)
    assert sorted(everything(rows).tolist()) == list(range(103))
    assert len(rows.held_out) == round(0.2 * 103)
    assert len(rows.validation) == round(0.25 * (103 - len(rows.held_out)))
    for part in (rows.train, rows.validation, rows.held_out):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        share = np.bincount(data.targets[part], minlength=3) / len(part)
        # Largest remainder: no class is off by more than one example.
        assert np.abs(share - np.array([60, 30, 13]) / 103).max() <= 1.01 / len(part)


def test_test_part_depends_on_the_data_only_and_the_rest_on_the_seed() -> None:
    data = toy(LABELS)
    a, b, again = (fit_rows(data, {}, seed=s) for s in (0, 1, 0))
    assert a.held_out.tolist() == b.held_out.tolist()
    assert a.validation.tolist() != b.validation.tolist()
    assert a.validation.tolist() == again.validation.tolist()
    assert final_rows(data, {}, seed=5).held_out.tolist() == a.held_out.tolist()


def test_folds_are_as_even_as_those_of_scikit_learn() -> None:
    data = toy(LABELS)
    options = {"test": 0.0, "folds": 4, "validation": 0.1}
    folds = [fold_rows(data, options, fold=k, repeat=0, seed=0) for k in range(4)]
    assert sorted(np.concatenate([f.held_out for f in folds]).tolist()) == list(range(103))
    ours = np.array([np.bincount(data.targets[f.held_out], minlength=3) for f in folds])
    splitter: Any = StratifiedKFold(4, shuffle=True, random_state=0)
    split = splitter.split(data.inputs, data.targets)
    theirs = np.array([np.bincount(data.targets[test], minlength=3) for _, test in split])
    assert np.ptp(ours, axis=0).max() <= np.ptp(theirs, axis=0).max() <= 1
    assert np.ptp(ours.sum(1)) <= 1
    for f in folds:
        assert sorted(everything(f).tolist()) == list(range(103))
        assert len(f.validation) == round(0.1 * (103 - len(f.held_out)))


def test_each_repeat_and_seed_is_another_partition() -> None:
    data = toy(LABELS)

    def held(repeat: int, seed: int) -> list[int]:
        return fold_rows(data, {}, fold=0, repeat=repeat, seed=seed).held_out.tolist()

    assert held(0, 0) == held(0, 0)
    assert len({tuple(held(r, s)) for r in range(3) for s in range(3)}) == 9


@bounds(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(2, 30), min_size=2, max_size=6),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.integers(0, 2**40),
)
def test_any_classes_any_shares(
    counts: list[int], test: float, validation: float, seed: int
) -> None:
    data = toy(np.repeat(np.arange(len(counts)), counts))
    rows = fit_rows(data, {"test": test, "validation": validation}, seed=seed)
    assert sorted(everything(rows).tolist()) == list(range(len(data)))
    assert set(data.targets[rows.train].tolist()) == set(range(len(counts)))
    assert (len(rows.held_out) > 0) == (test > 0)
    # A class with one example left outside the test part stays in training.
    left = np.bincount(data.targets[np.concatenate([rows.train, rows.validation])])
    assert (len(rows.validation) > 0) == (validation > 0 and left.max() > 1)


def test_a_group_is_never_on_two_sides() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 400)
    data = replace(toy(rng.integers(0, 2, 400)), groups=groups)
    options = {"folds": 5, "test": 0.2, "validation": 0.2}
    fits = [fit_rows(data, options, seed=0)]
    fits += [fold_rows(data, options, fold=k, repeat=1, seed=0) for k in range(5)]
    for rows in fits:
        sides = [set(groups[r].tolist()) for r in (rows.train, rows.validation, rows.held_out)]
        assert all(sides)
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]
    assert (
        fits[1].held_out.tolist()
        != fold_rows(data, options, fold=0, repeat=2, seed=0).held_out.tolist()
    )


def test_too_few_groups_are_refused_with_the_number() -> None:
    data = replace(toy([0, 1] * 50), groups=np.repeat([0, 1, 2, 3], 25))
    with pytest.raises(SettingError, match=r"8 different groups.*gives 3.*at most 3") as error:
        fold_rows(data, {"folds": 8, "test": 0.1}, fold=0, repeat=0, seed=0)
    assert error.value.setting == "data.folds"
    assert len(fold_rows(data, {"folds": 3}, fold=0, repeat=0, seed=0).held_out) == 25
    two = replace(data, groups=np.repeat([0, 1], 50))
    with pytest.raises(SettingError, match=r"gives 1\. Name another column, or leave"):
        fold_rows(two, {"folds": 2}, fold=0, repeat=0, seed=0)
    rows = fit_rows(two, {}, seed=0)
    assert (len(rows.train), len(rows.validation), len(rows.held_out)) == (50, 0, 50)


@pytest.mark.parametrize(("rows", "classes", "size"), [(108, 12, 2), (160, 20, 4)])
def test_groups_of_classes_smaller_than_the_parts(rows: int, classes: int, size: int) -> None:
    i = np.arange(rows)
    groups = i // size
    data = replace(toy(i % classes), groups=groups)
    parts = fit_rows(data, {}, seed=0)
    assert sorted(everything(parts).tolist()) == list(range(rows))
    sides = [set(groups[r].tolist()) for r in (parts.train, parts.validation, parts.held_out)]
    assert all(sides) and sum(map(len, sides)) == rows // size
    for fold in range(5):
        assert len(fold_rows(data, {}, fold=fold, repeat=0, seed=0).held_out)
    assert "classes are not balanced, each having fewer examples than the 10 parts" in reason(
        data, {"group": "g"}
    )


def test_check_says_what_fit_refuses() -> None:
    x, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    table = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "g": ["p"] * 60, "t": [1] * 60, "y": y})
    for name, value, mend in (
        ("group", "g", "Name another column, or leave data.group out."),
        ("time", "t", "Name another column, or leave data.time out."),
        ("limit", 3, "Give at least 6."),
    ):
        settings = {f"data.{name}": value, "data.task": "classification"}
        checked = fw.check(table, settings=settings)
        errors = [p for p in checked.problems if p.severity == "error"]
        assert [p.name for p in errors] == ["cannot_be_parted"] and errors[0].mend == mend
        assert not checked.usable and not checked.split
        with pytest.raises(SettingError) as refused:
            fw.fit(table, settings=settings)
        assert str(refused.value) == str(errors[0])
        with pytest.raises(SettingError):
            fw.cv(table, settings=settings)


def test_regression_is_split_without_strata() -> None:
    data = read("diabetes")
    rows = fit_rows(data, {}, seed=0)
    assert sorted(everything(rows).tolist()) == list(range(442))
    assert len(rows.held_out) == 44


def test_own_parts_override_the_shares() -> None:
    part = np.array(["train"] * 60 + ["validation"] * 10 + ["test"] * 33, dtype="<U10")
    labels = np.arange(103) % 3
    rows = fit_rows(toy(labels, part), {"test": 0.5, "validation": 0.5}, seed=0)
    assert rows.train.tolist() == list(range(60))
    assert rows.validation.tolist() == list(range(60, 70))
    assert rows.held_out.tolist() == list(range(70, 103))
    fold = fold_rows(toy(labels, part), {}, fold=0, repeat=0, seed=0)
    assert everything(fold).max() < 70
    final = final_rows(toy(labels, part), {}, seed=0)
    assert final.train.tolist() == list(range(70))
    assert not len(final.validation)


def test_own_validation_part_without_test_part() -> None:
    part = np.array(["train"] * 80 + ["validation"] * 23, dtype="<U10")
    rows = fit_rows(toy(np.arange(103) % 3, part), {"test": 0.1}, seed=0)
    assert rows.validation.tolist() == list(range(80, 103))
    assert len(rows.held_out) == 10
    assert rows.held_out.max() < 80


def test_limit_takes_a_stratified_sample_outside_the_test_part() -> None:
    data = toy(LABELS)
    whole = fit_rows(data, {}, seed=0)
    rows = fit_rows(data, {"limit": 30}, seed=0)
    assert rows.held_out.tolist() == whole.held_out.tolist()
    assert len(rows.train) + len(rows.validation) == 30
    pool = np.concatenate([rows.train, rows.validation])
    counts = np.bincount(data.targets[pool], minlength=3)
    assert np.abs(counts - 30 * np.array([60, 30, 13]) / 103).max() <= 1.01
    folds = [fold_rows(data, {"limit": 30}, fold=k, repeat=0, seed=9) for k in range(5)]
    assert sorted(np.concatenate([f.held_out for f in folds]).tolist()) == sorted(pool.tolist())
    # Nine tenths left out: the small classes still keep an example each.
    rare = toy(np.repeat([0, 1, 2], [95, 3, 2]))
    final = final_rows(rare, {"limit": 6, "test": 0.0}, seed=0)
    assert len(final.train) == 6
    assert set(rare.targets[final.train].tolist()) == {0, 1, 2}
    with pytest.raises(SettingError, match=r"data\.limit = 4.*at least 6"):
        fit_rows(data, {"limit": 4}, seed=0)


def test_more_folds_than_examples_and_a_fold_that_is_not_there() -> None:
    data = toy([0, 1] * 4)
    with pytest.raises(SettingError, match=r"data\.folds = 10.*at most 3"):
        fold_rows(data, {"folds": 10}, fold=0, repeat=0, seed=0)
    with pytest.raises(SettingError, match="folds 0 to 4"):
        fold_rows(data, {}, fold=5, repeat=0, seed=0)
    with pytest.raises(SettingError, match="Did you mean folds"):
        fold_rows(data, {"fold": 3}, fold=0, repeat=0, seed=0)

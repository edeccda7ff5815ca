"""Racing: what is stopped, and what that costs, by simulation."""

from typing import Any

import numpy as np
import pytest

from fitwell.data import read, split
from fitwell.resolve import complete
from fitwell.train import train_once
from fitwell.trials.racing import behind, floor_of, futile, unlikely
from fitwell.trials.statistics import decide, paired_verdict

FOLDS, REPEATS, LEAST = 5, 3, 0.005


def stage(random: np.random.Generator, effect: float, spread: float) -> tuple[bool, bool, int]:
    """(helps without racing, helps with it, pairs that racing ran) of one confirm stage."""
    values = random.normal(effect, spread, FOLDS * REPEATS).tolist()
    whole = decide(paired_verdict(values, FOLDS, REPEATS), LEAST) == "helps"
    for count in (FOLDS, 2 * FOLDS):
        if futile(values[:count], FOLDS, REPEATS, LEAST):
            return whole, False, count
    return whole, whole, FOLDS * REPEATS


@pytest.mark.parametrize("effect", [0.012, 0.02, 0.05])
def test_helpers_are_kept(effect: float) -> None:
    random = np.random.default_rng(0)
    found = [stage(random, effect, 0.01) for _ in range(2000)]
    helped = [raced for whole, raced, _ in found if whole]
    assert len(helped) > 100 and np.mean(helped) >= 0.97
    assert not any(raced and not whole for whole, raced, _ in found)


def test_what_does_nothing_is_stopped_soon() -> None:
    random = np.random.default_rng(1)
    pairs = [stage(random, 0.0, 0.01)[2] for _ in range(1000)]
    assert np.mean(pairs) < 9  # of 15


def screened(
    random: np.random.Generator, effects: list[float], spread: float
) -> tuple[set[str], set[str], int]:
    """(finalists of all folds, those of racing, trials that racing ran)."""
    values = {str(i): random.normal(effect, spread, FOLDS) for i, effect in enumerate(effects)}

    def best(names: set[str]) -> set[str]:
        return set(sorted(names, key=lambda name: -values[name].mean())[:2])

    alive, trials = set(values), 0
    for count in range(1, FOLDS + 1):
        trials += len(alive)
        so_far = {name: values[name][:count].tolist() for name in alive}
        alive -= behind(so_far, FOLDS, 2) | unlikely(so_far, FOLDS, REPEATS, LEAST)
    return best(set(values)), best(alive), trials


def test_finalists_are_those_of_all_folds() -> None:
    random = np.random.default_rng(2)
    same, trials = [], []
    for _ in range(500):
        effects = [0.03, *random.normal(-0.02, 0.03, 7)]
        whole, raced, count = screened(random, effects, 0.01)
        same.append("0" in raced if "0" in whole else True)
        trials.append(count)
    assert np.mean(same) >= 0.99
    assert np.mean(trials) < 0.6 * 8 * FOLDS


def test_what_would_be_found_to_help_is_seldom_unlikely() -> None:
    random = np.random.default_rng(3)
    missed = []
    for _ in range(1000):
        effects = {"a": 0.015, "b": 0.0, "c": -0.02}
        rows = {name: random.normal(mean, 0.01, FOLDS).tolist() for name, mean in effects.items()}
        fresh = random.normal(effects["a"], 0.01, FOLDS * REPEATS).tolist()
        if decide(paired_verdict(fresh, FOLDS, REPEATS), LEAST) == "helps":
            missed.append("a" in unlikely(rows, FOLDS, REPEATS, LEAST))
    assert len(missed) > 300 and np.mean(missed) <= 0.02


def test_what_does_nothing_is_unlikely_in_time() -> None:
    random = np.random.default_rng(4)
    found = [
        len(unlikely({n: random.normal(-0.01, 0.01, 5).tolist() for n in "abcd"}, 5, 3, LEAST))
        for _ in range(500)
    ]
    assert np.mean(found) > 0.6 * 4


def test_without_others_it_must_be_able_to_help() -> None:
    alone = {"a": [-0.020, -0.022, -0.019]}
    assert behind(alone, FOLDS, 2) == set()
    assert unlikely(alone, FOLDS, REPEATS, LEAST) == {"a"}
    assert unlikely({"a": [0.020, 0.022, 0.019]}, FOLDS, REPEATS, LEAST) == set()


def test_a_hard_fold_is_nothing_between_two() -> None:
    hard = np.array([0.0, 0.1, -0.1])
    rows = {name: (hard + mean).tolist() for name, mean in (("a", 0.03), ("b", 0.02), ("c", 0.0))}
    assert behind(rows, FOLDS, 1) == {"b", "c"}
    assert unlikely(rows, FOLDS, REPEATS, LEAST) == set()


def test_nothing_is_said_before_the_second_fold_or_after_the_last() -> None:
    rows = {"a": [0.1], "b": [-0.9]}
    assert behind(rows, FOLDS, 1) == unlikely(rows, FOLDS, REPEATS, LEAST) == set()
    rows = {"a": [0.1] * 5, "b": [-0.9] * 5}
    assert behind(rows, FOLDS, 1) == set()
    assert behind({}, FOLDS, 2) == unlikely({}, FOLDS, REPEATS, LEAST) == set()
    assert not futile([-1.0], FOLDS, REPEATS, LEAST)
    assert not futile([-1.0] * 15, FOLDS, REPEATS, LEAST)


def test_the_screen_tells_how_far_finalists_spread() -> None:
    few = [-0.012, -0.004, 0.004]
    assert not futile(few, FOLDS, REPEATS, LEAST)
    assert futile(few, FOLDS, REPEATS, LEAST, before=[0.010, 0.011, 0.010, 0.011, 0.010])


def test_equal_folds_have_no_spread() -> None:
    rows = {"a": [0.02, 0.02], "b": [0.01, 0.01], "c": [0.0, 0.0]}
    assert behind(rows, FOLDS, 1) == {"b", "c"}
    assert unlikely(rows, FOLDS, REPEATS, LEAST) == {"c"}
    assert futile([0.0] * 5, FOLDS, REPEATS, LEAST)
    assert not futile([0.02] * 5, FOLDS, REPEATS, LEAST)


def test_the_floor_is_low_and_late() -> None:
    curve = [0.5, 0.75, 0.9, 0.95, 0.96, 0.97]
    assert floor_of(curve, 5, 0.25, higher_is_better=True) == (None, None, 0.5, 0.5, 0.5)
    assert floor_of(curve, 1, 0.25, higher_is_better=True) == (0.5,)
    errors = floor_of([3.0, 2.0, 1.0], 10, 0.5, higher_is_better=False)
    assert errors[:5] == (None,) * 5 and errors[5:] == (3.5,) * 5


def test_a_training_that_is_far_behind_is_given_up() -> None:
    digits = read("digits", {})
    settings = {"model.name": "mlp", "train.epochs": 5, "data.limit": 200}
    recipe = complete(settings, digits.spec)
    rows = split.fold_rows(digits, recipe.section("data"), fold=0, repeat=0, seed=0)
    place: dict[str, Any] = {"fold": 0, "probes": False, "threads": 1}
    run = train_once(digits, rows, recipe, floor=(None, None, 0.999, 0.0, 0.0), **place)
    assert run.status == "failed" and run.environment["given_up"]
    assert len(run.epochs) == 3 and "held_out" not in run.scores
    assert "Given up after epoch 3 of 5: validation accuracy 0" in run.failure
    low = train_once(digits, rows, recipe, floor=(None, None, 0.01, 0.01, 0.01), **place)
    free = train_once(digits, rows, recipe, **place)
    assert low.scores == free.scores and "given_up" not in low.environment

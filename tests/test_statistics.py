"""The arithmetic of findings.md, scipy as reference, and simulations of the null."""

import numpy as np
import pytest
from scipy import stats

from fitwell.trials import statistics as s


def bounds(interval: s.Interval) -> tuple[float, float, float]:
    """(low, high, p) of an interval that has them."""
    assert interval.low is not None and interval.high is not None and interval.p is not None
    return interval.low, interval.high, interval.p


@pytest.mark.parametrize(
    ("folds", "repeats", "level", "expected"),
    [
        (5, 1, 0.05, 1.86),
        (5, 3, 0.05, 1.21),
        (5, 1, 0.05 / 8, 3.53),
        (5, 3, 0.05 / 8, 1.81),
    ],
)
def test_half_widths_of_the_protocol(
    folds: int, repeats: int, level: float, expected: float
) -> None:
    assert s.half_width(folds, repeats, level) == pytest.approx(expected, abs=0.005)


def test_interval_has_the_half_width_and_agrees_with_its_p() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        d = random.normal(0.5, 1, 15)
        got = s.paired_verdict(d.tolist(), 5, 3, 0.05)
        low, high, p = bounds(got)
        assert high - got.effect == pytest.approx(d.std(ddof=1) * s.half_width(5, 3))
        assert (p < 0.05) == (low > 0 or high < 0)
        # Scaling the plain t statistic by the variance ratio gives the corrected one.
        plain = stats.ttest_1samp(d, 0).statistic
        t = plain * np.sqrt((1 / 15) / (1 / 15 + 1 / 4))
        assert p == pytest.approx(2 * stats.t.sf(abs(t), 14))


@pytest.mark.parametrize("constant", [0.0, 0.1, -0.02])
def test_no_variance_is_no_evidence(constant: float) -> None:
    got = s.paired_verdict([constant] * 5, 5, 1)
    assert got.p is None and got.low is None and got.effect == pytest.approx(constant)
    assert s.decide(got, 0.0) == "no evidence"


@pytest.mark.parametrize("bad", [[0.1] * 4, [0.1] * 6, [0.1, 0.2, float("nan"), 0, 0]])
def test_wrong_differences_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError):
        s.paired_verdict(bad, 5, 1)


def test_sign_symmetry_and_scale() -> None:
    d = np.random.default_rng(1).normal(0.3, 1, 15)
    a, b, c = (bounds(s.paired_verdict(x.tolist(), 5, 3)) for x in (d, -d, 100 * d))
    (a_low, a_high, a_p), (b_low, b_high, b_p), (c_low, _, c_p) = a, b, c
    assert (a_low, a_high) == (pytest.approx(-b_high), pytest.approx(-b_low))
    assert a_p == pytest.approx(b_p) and a_p == pytest.approx(c_p)
    assert c_low == pytest.approx(100 * a_low)


def test_decision_needs_bound_and_size() -> None:
    def interval(effect: float, low: float, high: float) -> s.Interval:
        return s.Interval(effect, low, high, 0.01, 0.05)

    assert s.decide(interval(0.01, 0.002, 0.018), 0.005) == "helps"
    assert s.decide(interval(0.004, 0.002, 0.006), 0.005) == "no evidence"
    assert s.decide(interval(0.02, -0.001, 0.041), 0.005) == "no evidence"
    assert s.decide(interval(-0.01, -0.02, -0.001), 0.005) == "hurts"
    assert s.decide(interval(-0.001, -0.002, -0.0001), 0.005) == "hurts"


def test_holm_equals_the_textbook_step_down() -> None:
    def rejected(p: list[float], alpha: float) -> list[bool]:  # naive twin
        order = np.argsort(p)
        out = [False] * len(p)
        for rank, i in enumerate(order):
            if p[i] > alpha / (len(p) - rank):
                break
            out[i] = True
        return out

    random = np.random.default_rng(2)
    for _ in range(500):
        p = list(random.random(4) ** 4)
        levels = s.holm_levels(p, 0.05)
        assert [q <= level for q, level in zip(p, levels, strict=True)] == rejected(p, 0.05)
    assert s.holm_levels([0.01, 0.04]) == [0.025, 0.05]
    assert s.holm_levels([0.03, 0.04]) == [0.025, 0.025]
    assert s.holm_levels([None, 0.01]) == [0.05, 0.025]
    assert s.holm_levels([]) == []


def test_rounds_spend_alpha() -> None:
    assert s.round_alpha(1) == 0.05 and s.round_alpha(2) == 0.0125
    assert sum(s.round_alpha(r) for r in range(1, 1000)) < 0.05 * np.pi**2 / 6
    with pytest.raises(ValueError):
        s.round_alpha(0)


def _correlated(
    random: np.random.Generator, arms: int, folds: int, repeats: int, shift: float = 0.0
) -> np.ndarray:
    """Differences with the correlation that Nadeau and Bengio assume: test / (test + train)."""
    rho = 1 / folds
    shared = random.normal(size=(arms, 1)) * np.sqrt(rho)
    own = random.normal(size=(arms, folds * repeats)) * np.sqrt(1 - rho)
    return shift + shared + own


@pytest.mark.parametrize(("folds", "repeats"), [(5, 1), (5, 3)])
def test_the_null_is_rejected_in_at_most_five_per_cent_where_the_plain_test_errs_far_more(
    folds: int, repeats: int
) -> None:
    random = np.random.default_rng(3)
    d = _correlated(random, 4000, folds, repeats)
    verdicts = [s.paired_verdict(row, folds, repeats) for row in d.tolist()]
    corrected = np.mean([bounds(verdict)[2] < 0.05 for verdict in verdicts])
    plain = np.mean(stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05)
    assert corrected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert corrected >= 0.03  # not empty caution either
    assert plain > 0.12


def test_confirming_two_keeps_the_family_error_and_finds_real_effects() -> None:
    random = np.random.default_rng(4)
    wrong = right = 0
    for _ in range(1500):
        nothing = _correlated(random, 2, 5, 3).tolist()
        wrong += any(d in ("helps", "hurts") for _, d in s.confirm(nothing, 5, 3, min_effect=0.0))
        real = _correlated(random, 1, 5, 3, shift=2.5).tolist()
        right += s.confirm([real[0], nothing[0]], 5, 3, min_effect=0.5)[0][1] == "helps"
    assert wrong / 1500 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)
    assert right / 1500 > 0.9


def test_decision_and_shown_interval_agree_under_holm() -> None:
    random = np.random.default_rng(5)
    for _ in range(300):
        d = _correlated(random, 2, 5, 3, shift=1.0).tolist()
        for interval, decision in s.confirm(d, 5, 3, min_effect=0.0):
            low, high, _ = bounds(interval)
            assert (decision != "no evidence") == (low > 0 or high < 0)


def test_mcnemar_equals_the_binomial_sum() -> None:
    first = np.array([1] * 10 + [0] * 3 + [1] * 50, bool)
    second = np.array([0] * 10 + [1] * 3 + [1] * 50, bool)
    by_hand = 2 * sum(stats.binom.pmf(k, 13, 0.5) for k in range(4))
    assert s.mcnemar(first, second) == pytest.approx(by_hand)
    assert s.mcnemar(first, first) is None
    assert s.paired_proportions(first, first).low is None


def test_paired_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(6)
    hits = boot = 0
    for i in range(400):
        hard = random.random(300)
        first, second = hard < 0.85, hard + random.normal(0, 0.05, 300) < 0.88
        truth = 0.88 - 0.85
        # P(u + e < 0.88) for u uniform is 0.88 up to the cut at the edges.
        low, high, _ = bounds(s.paired_proportions(first, second))
        hits += low <= truth <= high
        if i < 150:
            got = s.paired_bootstrap(first, second, lambda r: float(r.mean()), draws=300, seed=i)
            low, high, _ = bounds(got)
            boot += low <= truth <= high
    assert 0.92 <= hits / 400 and 0.88 <= boot / 150


def test_bootstrap_turns_errors_round_and_is_exact_where_nothing_differs() -> None:
    random = np.random.default_rng(7)
    first, second = random.normal(0, 2, 500) ** 2, random.normal(0, 1, 500) ** 2
    got = s.paired_bootstrap(
        first, second, lambda e: float(np.sqrt(e.mean())), greater_is_better=False
    )
    low, _, p = bounds(got)
    assert got.effect == pytest.approx(1.0, abs=0.15) and low > 0 and 0 < p < 0.01
    assert got == s.paired_bootstrap(
        first, second, lambda e: float(np.sqrt(e.mean())), greater_is_better=False
    )
    assert s.paired_bootstrap(first, first, lambda e: float(e.mean())).p is None


def test_min_effect() -> None:
    assert s.default_min_effect(0.9, bounded=True) == 0.005
    assert s.default_min_effect(50.0, bounded=False) == 1.0

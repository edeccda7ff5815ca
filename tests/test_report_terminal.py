"""The terminal: what is printed, at 80 columns, and that names are never markup."""

import io

import pytest
import report_fakes as fakes
from rich.console import Console

from fitwell.data.types import Problem
from fitwell.record import Diagnosis, NotAssessed, Run
from fitwell.report import terminal


def printed(what: object, width: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(what)
    return file.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def test_an_improvement_fits_80_columns_and_says_what_counts() -> None:
    text = printed(terminal.improvement(fakes.improvement()))
    assert max(len(line) for line in text.splitlines()) <= 80
    for said in (
        "A better recipe, proved",
        "vanishing_gradient, high confidence",
        "[+0.440, +0.530]",
        "helps",
        "stopped early",
        "Test looked at 1 time.",
    ):
        assert said in text
    assert "test 0.430 → 0.961" in flat(text)


def test_long_names_of_remedies_do_not_break_the_table() -> None:
    rows = [fakes.verdict("a" * 120, {}, "confirm", 0.01, "helps", (0.001, 0.02))]
    text = printed(terminal.verdicts(rows))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "helps" in text


def test_confirmed_verdicts_come_first_and_failures_last() -> None:
    rows = [
        fakes.verdict("failed", {}, "screen", float("nan"), "screened out"),
        fakes.verdict("small", {}, "screen", 0.1, "screened out"),
        fakes.verdict("proved", {}, "confirm", 0.05, "helps", (0.01, 0.09)),
    ]
    text = printed(terminal.verdicts(rows))
    places = [text.index(name) for name in ("proved", "small", "failed")]
    assert places == sorted(places)


def test_nothing_wrong_is_said_plainly() -> None:
    assert "Nothing wrong was found." in printed(terminal.findings(Diagnosis()))


def test_nothing_wrong_is_not_said_where_nothing_was_looked_at() -> None:
    from fitwell.findings import diagnose

    assert "Nothing could be assessed" in printed(terminal.findings(diagnose(Run())))


def test_nothing_wrong_says_of_how_much_where_evidence_is_missing() -> None:
    diagnosis = Diagnosis(not_assessed=[NotAssessed("dying_relu", "no probes")], rules=9)
    text = printed(terminal.findings(diagnosis))
    assert "Nothing wrong was found in what could be assessed (8 of 9)." in text
    assert "Not assessed" in text and "dying_relu: no probes" in text


def test_names_are_printed_as_they_are() -> None:
    problem = Problem("x", "error", ("[red]dir[/red]/a.png",), "[bold]bad[/bold]", "[link]mend")
    text = printed(terminal.problems([problem]))
    assert "[red]dir[/red]/a.png" in text
    assert "[bold]bad[/bold]" in text
    assert "[link]mend" in text


def test_errors_of_the_data_come_first_and_long_lists_are_cut() -> None:
    found = [
        Problem("a", "note", ("n",), "a note", "read it"),
        Problem("b", "error", tuple(f"file-{i}" for i in range(40)), "an error", "mend it"),
    ]
    text = printed(terminal.problems(found))
    assert text.index("an error") < text.index("a note")
    assert "and 32 more" in flat(text)
    assert "file-39" not in text


def test_a_cross_validation_shows_every_fold() -> None:
    folds = fakes.improvement().final_folds
    run = Run(recipe=fakes.recipe(), trials=folds, status="done")
    text = printed(terminal.run(run))
    for fold in folds:
        assert f"{fold.scores['held_out']['accuracy']:.3f}" in text


def test_an_absent_score_is_no_zero() -> None:
    arms = {"": {"validation": {"accuracy": 0.9}, "test": {"loss": 0.5}}}
    lines = printed(terminal.scores(arms)).splitlines()
    row = next(line for line in lines if line.startswith("accuracy"))
    assert row.split() == ["accuracy", "0.900", "–"]


@pytest.mark.parametrize("status", ["failed", "interrupted", "new"])
def test_a_run_without_scores_can_be_printed(status: str) -> None:
    assert printed(terminal.run(Run(status=status, failure="The loss is nan at step 3.")))

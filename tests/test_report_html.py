"""The HTML report: what it says, what it must not do, and what it leaves out."""

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import report_fakes as fakes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix

from fitwell.data import read
from fitwell.findings import diagnose
from fitwell.record import Diagnosis, Run
from fitwell.report import mistakes
from fitwell.report.curves import curve_table, paint_verdicts, scale_of
from fitwell.report.evidence import by_layer, picture
from fitwell.report.examples import contact_sheet
from fitwell.report.facts import gather, held_out_predictions
from fitwell.report.headline import headline
from fitwell.report.html import outcomes, proofs, render, write_report
from fitwell.report.model import commands, options_of, parameters
from fitwell.report.pixels import picture as picture_of
from fitwell.store import ORDER


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def pictures(self, kind: str) -> list[bytes]:
        uris = [a.get("src") or "" for tag, a in self.tags if tag == "img"]
        start = f"data:{kind};base64,"
        return [base64.b64decode(u.removeprefix(start)) for u in uris if u.startswith(start)]


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    data = fakes.digits()
    assert write_report(fakes.improvement(data=data), path, data=data) == path
    return path.read_text(encoding="utf-8")


def test_the_headline_says_what_changed_by_how_much_and_how_often_test_was_looked_at(
    sick: str,
) -> None:
    text = Page(sick).text
    assert "model.activation sigmoid → relu and optim.lr 0.01 → 0.05" in text
    assert "validation 0.410 → 0.966 (mean of 5 folds)" in text
    assert (
        "test 0.430 → 0.961 (one look, paired 95 % interval of the gain [+0.490, +0.572])" in text
    )
    assert "Test looked at 1 time." in text


def test_every_verdict_finding_sentence_and_problem_is_there(sick: str) -> None:
    text = Page(sick).text
    result = fakes.improvement()
    for verdict in result.verdicts:
        assert verdict.remedy in text
        assert verdict.decision in text
    assert "[+0.440, +0.530]" in text
    for diagnosis in result.diagnosis:
        assert all(finding.sentence in text for finding in diagnosis.findings)
        assert all(entry.missing in text for entry in diagnosis.not_assessed)
    assert all(sentence in text for sentence in result.sentences)
    assert "4 images could not be read and are left out." in text
    assert "two/broken.png, two/empty.png, three/cut.jpg, three/<b>.jpg" in text
    assert "torch" in text
    assert "2.15.0" in text


def test_the_file_needs_no_network_and_runs_no_script(sick: str) -> None:
    page = Page(sick)
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "style"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/"), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in sick
    assert "url(" not in sick
    for svg in page.pictures("image/svg+xml"):
        links = re.findall(r'(?:href|src)="([^"]*)"', svg.decode())
        assert all(link.startswith("#") for link in links), links


def test_each_curve_says_what_it_shows_to_who_cannot_see_it(sick: str) -> None:
    named = [a["alt"] or "" for tag, a in Page(sick).tags if tag == "img"]
    said = {alt for alt in named if alt.endswith("by epoch, train and validation")}
    assert {alt.split(" by epoch")[0] for alt in said} == {
        "Before: accuracy", "After: accuracy", "Before: loss", "After: loss"
    }  # fmt: skip
    assert all(named)


def test_a_fine_tuned_run_says_what_it_started_from() -> None:
    data = fakes.digits()
    (run,) = fakes.improvement(data=data).final_folds[:1]
    assert run.recipe is not None
    before = headline(gather(run)).sentences
    run.recipe = run.recipe.edit({"model.pretrained": "w.pth"})
    run.evidence = [
        {
            "experiment": "pretrained",
            "loaded": ["conv1.weight", "conv1.bias"],
            "new": ["head.weight", "head.bias"],
            "notes": ["conv1.weight is summed over its three channels, to read one."],
        }
    ]
    added = [s for s in headline(gather(run)).sentences if s not in before]
    assert added == [
        "Started from w.pth: 2 tensors taken over; new are head.weight and head.bias.",
        "conv1.weight is summed over its three channels, to read one.",
    ]


def test_names_are_escaped_on_the_page_and_in_pictures(sick: str) -> None:
    assert "<script" not in sick
    assert "alert(" in Page(sick).text
    pictures = b"".join(Page(sick).pictures("image/svg+xml"))
    assert b"<script" not in pictures
    assert b"&lt;script&gt;" in pictures


def test_pictures_are_the_examples_that_the_text_names(sick: str) -> None:
    data = fakes.digits()
    page = Page(sick)
    shown = page.pictures("image/png")
    predictions, _ = held_out_predictions(gather(fakes.improvement(data=data)))
    assert predictions is not None
    rows = predictions.worst()
    assert len(shown) == len(rows) + 10 > 15  # the sheet has a strip a class
    for content, row in zip(shown, rows, strict=False):
        pixels = np.asarray(Image.open(io.BytesIO(content)))
        small = pixels[::12, ::12] if pixels.shape == (96, 96) else pixels
        assert (small == data.inputs[predictions.index[row], 0]).all()
        assert str(predictions.keys[row]) in page.text
    assert f"This file embeds {len(rows)} examples" in page.text


def test_the_contact_sheet_shows_examples_of_each_class(tmp_path: Path) -> None:
    data = fakes.digits()
    page = Page(
        write_report(fakes.improvement(data=data), tmp_path / "r.html", data=data).read_text(
            "utf-8"
        )
    )
    strips = page.pictures("image/png")[-10:]
    for digit, content in enumerate(strips):
        strip = np.asarray(Image.open(io.BytesIO(content)))
        assert strip.shape == (64, 8 * 66 - 2, 3)  # 8 times as large, 2 pixels between
        rows = np.flatnonzero(data.targets == digit)
        shown = rows[np.linspace(0, len(rows) - 1, 8).astype(int)]
        for place, row in enumerate(shown):
            tile = strip[::8, place * 66 : place * 66 + 64 : 8, 0]
            assert (tile == data.inputs[row, 0]).all()
    assert "This sheet embeds 80 examples" in page.text


def test_a_contact_sheet_of_numbers_goes_from_small_to_large() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 30, 100), np.uint8)
    ages = np.random.default_rng(1).permutation(40) + 0.5
    data = read((images, ages))
    sheet = contact_sheet(data)
    assert len(sheet["strips"]) == 1 and len(sheet["examples"]) == 8
    said = [ages[int(key.split()[1])] for key in sheet["examples"]]
    assert said == sorted(said) and said[0] == 0.5 and said[-1] == 39.5
    assert sheet["strips"][0]["picture"].startswith("data:image/jpeg")
    assert contact_sheet(read("wine")) == contact_sheet(None) == {}


def test_many_classes_are_said_not_to_be_all() -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 1, 8, 8), np.uint8)
    sheet = contact_sheet(read((images, np.array([f"c{i % 50:02}" for i in range(100)]))))
    assert len(sheet["strips"]) == 40 and sheet["left"] == 10


def test_no_examples_leaves_pictures_rows_and_names_out(tmp_path: Path) -> None:
    data = fakes.digits()
    page = Page(
        write_report(
            fakes.improvement(data=data), tmp_path / "r.html", data=data, examples=False
        ).read_text(encoding="utf-8")
    )
    assert page.pictures("image/png") == []
    assert "--no-examples" in page.text
    assert "This file embeds no example" in page.text
    assert not re.findall(r"row \d+", page.text)  # neither mistakes nor the problems' places
    assert "Duplicate examples: 2; `fitwell check` names them." in page.text

    run, homes = fakes.regression()
    page = Page(
        write_report(run, tmp_path / "t.html", data=homes, examples=False).read_text("utf-8")
    )
    assert "row " not in page.text
    assert "A & B" not in page.text


def test_pictures_are_not_taken_from_other_data(tmp_path: Path) -> None:
    """Keys tell the data apart; a picture of another example would be worse than none."""
    data = fakes.digits()
    other = fakes.digits()
    other.keys[:] = [f"other {i}" for i in range(len(other))]
    path = write_report(fakes.improvement(data=data), tmp_path / "r.html", data=other)
    assert Page(path.read_text(encoding="utf-8")).pictures("image/png") == []


def test_a_healthy_start_says_that_nothing_helps() -> None:
    said = headline(gather(fakes.improvement(helps=False)))
    assert said.tone == "same"
    assert said.title == "Nothing that was tried helps"
    assert "Two remedies tried in 20 trials" in said.sentences[0]
    assert "validation 0.966 (mean of 5 folds); test 0.961 (one look)" in said.sentences[1]


def test_a_budget_that_ended_first_is_said() -> None:
    result = fakes.improvement(helps=False)
    result.verdicts = [fakes.verdict("relu", fakes.RELU, "screen", 0.3, "unconfirmed")]
    said = headline(gather(result))
    assert said.tone == "open"
    assert "relu" in said.sentences[0]


def test_a_gain_that_the_test_set_does_not_show_is_said() -> None:
    result = fakes.improvement()
    result.test_effect = {"metric": "accuracy", "effect": 0.004, "low": -0.01, "high": 0.02}
    said = headline(gather(result))
    assert "test set cannot tell" in said.title
    assert any("within what chance does" in sentence for sentence in said.sentences)


def test_regression_shows_residuals_rows_categories_and_missing_values(tmp_path: Path) -> None:
    run, data = fakes.regression()
    page = Page(write_report(run, tmp_path / "r.html", data=data).read_text(encoding="utf-8"))
    assert "Error (rmse) 31.20 on the test part" in page.text
    assert "gap +25.20" in page.text  # worse on unseen data is a positive gap, also for an error
    assert "area <m2>" in page.text
    assert "A & B" in page.text
    assert "missing" in page.text
    assert "Test looked at 2 times." in page.text
    titles = b"".join(page.pictures("image/svg+xml"))
    assert b"Predicted against true" in titles


def test_cross_validation_is_told_as_mean_and_spread(tmp_path: Path) -> None:
    data = fakes.digits()
    folds = fakes.improvement(data=data).final_folds
    run = Run(recipe=fakes.recipe(), spec=data.spec, trials=folds, status="done")
    facts = gather(run)
    scores = [f.scores["held_out"]["accuracy"] for f in folds]
    assert facts.kind == "cv"
    assert facts.final["validation"]["accuracy"] == pytest.approx(np.mean(scores))
    assert facts.spread["accuracy"] == pytest.approx(np.std(scores, ddof=1))
    page = Page(write_report(run, tmp_path / "cv.html", data=data).read_text(encoding="utf-8"))
    assert f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}" in page.text


def test_the_trials_of_an_improvement_are_no_cross_validation() -> None:
    """A run opened from an improvement's folder has every trial below it."""
    result = fakes.improvement()
    result.run.trials = [*result.baseline_folds, *result.final_folds]
    assert gather(result.run).kind == "fit"


@pytest.mark.parametrize(
    "run",
    [
        Run(),
        Run(status="failed", failure="The loss is nan at step 3; layer <conv>."),
        Run(epochs=[{"epoch": 0, "train": {"loss": None}, "validation": None}]),
        Run(trials=[Run(fold=0, status="failed", failure="nan")]),
    ],
)
def test_a_run_that_is_broken_or_empty_still_has_a_report(run: Run, tmp_path: Path) -> None:
    page = Page(write_report(run, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.open == []
    if run.failure:
        assert "layer <conv>" in page.text


def test_equal_results_give_an_equal_file(tmp_path: Path) -> None:
    first = write_report(fakes.regression()[0], tmp_path / "1.html").read_bytes()
    assert first == write_report(fakes.regression()[0], tmp_path / "2.html").read_bytes()


def test_the_report_needs_no_torch() -> None:
    code = (
        "import sys, fitwell.report.html, fitwell.report.terminal, fitwell.report.progress\n"
        "heavy = {'torch', 'matplotlib', 'PIL', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_confusion_is_scikit_learns() -> None:
    data = fakes.digits()
    given = fakes.predicted(data, np.arange(300), share_right=0.6, seed=3)
    expected = confusion_matrix(given.target, given.prediction, labels=range(10))
    counts = mistakes.confusion(given, 10)
    assert (counts == expected).all()
    pairs = mistakes.confused_pairs(counts, [str(i) for i in range(10)], limit=3)
    off = expected * (1 - np.eye(10, dtype=int))
    assert [p[2] for p in pairs] == sorted(off.ravel().tolist(), reverse=True)[:3]
    for true, taken, count, total in pairs:
        assert count == expected[int(true), int(taken)]
        assert total == expected[int(true)].sum()


@pytest.mark.parametrize("count", [2, 10, 16, 60])
@pytest.mark.parametrize("name", ["{}", "a class of a long name {}", "$x_{}$", "猫{}"])
def test_a_matrix_of_any_size_and_names_can_be_drawn(count: int, name: str) -> None:
    names = [name.format(i) for i in range(count)]
    picture = mistakes.confusion_plot(np.eye(count, dtype=int) * 3, names)
    svg = base64.b64decode(picture.split(",", 1)[1]).decode()
    drawn = f">{names[0] if len(names[0]) <= 14 else names[0][:13] + '…'}<"
    assert (drawn in svg) == (count <= 40)


def test_each_round_of_verdicts_has_a_picture_of_its_own_scale() -> None:
    found = proofs(gather(fakes.improvement()))
    assert [proof["number"] for proof in found] == [1, 2]
    assert [len(proof["verdicts"]) for proof in found] == [5, 2]
    last = base64.b64decode(found[1]["picture"].split(",", 1)[1]).decode()
    assert "dropout" in last
    assert "tanh" not in last


def test_an_effect_far_below_does_not_hide_what_was_confirmed() -> None:
    far = fakes.verdict("far", {}, "screen", -0.84, "screened out")
    near = fakes.verdict("near", {}, "screen", 0.02, "screened out")
    failed = fakes.verdict("failed", {}, "screen", float("nan"), "screened out")
    sure = fakes.verdict("sure", {}, "confirm", 0.01, "helps", (0.001, 0.03))
    assert scale_of([sure, near, far, failed], 0.005) == (0.0, 0.03)
    assert scale_of([near, far, failed], 0.005) == (-0.84, 0.02)
    low, high = scale_of([failed], 0.0)
    assert low < 0 < high
    axes = Figure().subplots()
    paint_verdicts(axes, [sure, near, far, failed], 0.005)
    left, right = axes.get_xlim()
    assert -0.005 < left < 0 and 0.03 < right < 0.035
    triangles = [line for line in axes.lines if str(line.get_marker()) in ("<", ">")]
    ((x, y),) = [np.asarray(line.get_xydata(), np.float64)[0] for line in triangles]
    assert left < x < 0 and y == 2 and str(triangles[0].get_marker()) == "<"


def test_worst_mistakes_are_wrong_and_the_surest_first() -> None:
    given = fakes.predicted(fakes.digits(), np.arange(300), share_right=0.6, seed=3)
    rows = given.worst(10)
    assert (given.target[rows] != given.prediction[rows]).all()
    assert given.probabilities is not None
    sure = given.probabilities[rows, given.prediction[rows]]
    assert (np.diff(sure) <= 0).all()
    wrong = given.target != given.prediction
    assert sure[0] == given.probabilities[wrong].max()


def test_float_and_colour_images_become_pictures() -> None:
    for image in (
        np.zeros((1, 4, 4), np.float32),
        np.full((3, 4, 4), np.nan, np.float32),
        np.zeros((3, 400, 300), np.uint8),
        np.zeros((2, 5, 7), np.uint8),
    ):
        kind = "jpeg" if image.shape[-1] == 300 else "png"
        assert picture_of(image).startswith(f"data:image/{kind};base64,")


def test_curves_of_folds_that_stopped_at_different_epochs() -> None:
    rows = [{"validation": {"loss": float(i)}} for i in range(3)]
    table = curve_table([Run(epochs=rows), Run(epochs=rows[:1])], "validation", "loss")
    expected = [[0.0, 1.0, 2.0], [0.0, np.nan, np.nan]]
    np.testing.assert_array_equal(table, expected)


def test_a_layers_probe_is_its_median_over_steps_and_its_end_over_epochs() -> None:
    rows = [
        {"kind": "step", "epoch": e, "layer": "a", "index": 0, "grad_rms": g}
        for e, g in ((0, 1.0), (1, 2.0), (2, 9.0))
    ]
    rows += [
        {"kind": "epoch", "epoch": e, "layer": "act", "index": 1, "dead": d}
        for e, d in ((0, 0.9), (4, 0.1))
    ]
    runs = [Run(probes=rows)]
    assert by_layer(runs, "step", "grad_rms")[1].tolist() == [2.0]
    assert by_layer(runs, "epoch", "dead")[1].tolist() == [0.1]


def test_each_finding_has_a_picture_where_rows_exist_and_none_where_not() -> None:
    result = fakes.improvement()
    for finding in result.diagnosis[0].findings:
        assert picture(finding, result.baseline_folds, "accuracy")
        assert picture(finding, [], "accuracy") is None
        assert picture(finding, [Run()], "accuracy") is None


def test_a_round_whose_runs_are_gone_shows_no_picture_of_others() -> None:
    facts = gather(fakes.improvement())  # round 2 adopted something: its baseline is not at hand
    assert [len(runs) for runs in facts.runs_of_diagnosis] == [5, 0]


def test_a_round_in_which_nothing_could_be_assessed_is_not_called_healthy() -> None:
    blind, healthy = (
        render(gather(Run(), diagnosis=d)) for d in (diagnose(Run()), Diagnosis(rules=9))
    )
    assert "Nothing could be assessed" in blind
    assert "Nothing wrong was found" not in blind
    assert "Nothing wrong was found." in healthy


def test_a_remedys_outcome_is_its_confirmation_not_its_screen() -> None:
    result = fakes.improvement()
    finding = result.diagnosis[0].findings[0]
    advice = ("look at the data: Standardise the inputs in your own pipeline.", "advice")
    assert outcomes(finding, result.verdicts, 1) == [
        ("relu", "helps"),
        ("lr x 5", "helps"),
        advice,
    ]
    assert outcomes(finding, [], 1) == [
        ("relu: model.activation = relu", "not tried"),
        ("lr x 5: optim.lr = 0.05", "not tried"),
        advice,
    ]


def test_a_verdict_counts_for_the_findings_that_it_names() -> None:
    bare = replace(fakes.improvement().diagnosis[0].findings[1], remedies=())
    rows = [
        replace(fakes.verdict("a", {}, "confirm", 0.1, "helps"), finding="overfitting, lr_too_low"),
        replace(fakes.verdict("b", {}, "screen", 0.1, "screened out"), finding="overfitting"),
    ]
    assert outcomes(bare, rows, 1) == [("a", "helps")]
    assert outcomes(bare, rows, 2) == []


def test_commands_can_be_typed_again() -> None:
    import shlex

    recipe = fakes.recipe(optim__lr=1 / 3, data__target="the price", augment__crop=[0.5, 1.0])
    found = dict(commands("my data", recipe, recipe, verb="fit"))
    assert list(found) == ["The same again, every setting spelled out"]
    typed = shlex.split(next(iter(found.values())))
    assert typed[:3] == ["fitwell", "fit", "my data"]
    assert f"optim.lr={1 / 3!r}" in typed
    assert "data.target=the price" in typed
    assert "augment.crop=[0.5, 1.0]" in typed


def test_the_command_asks_for_what_was_asked_for(tmp_path: Path) -> None:
    from fitwell import store

    assert options_of(None) == options_of(tmp_path) == []
    store.write_json(tmp_path / store.CALL, {"examples": False, "budget": "90s"})
    assert options_of(tmp_path) == ["--budget", "90s", "--no-examples"]
    recipe = fakes.recipe()
    better = recipe.edit({"optim.lr": 0.3})
    again, train = commands("digits", better, recipe, verb="improve", options=options_of(tmp_path))
    assert again[1].startswith("fitwell improve digits --budget 90s --no-examples ")
    assert "--budget" not in train[1]


def test_parameters_are_read_from_the_weights_file(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "best.safetensors"
    tensors = {"b": np.zeros((2, 3), np.float32), "a": np.zeros(5, np.float32)}
    save_file(tensors, path)
    rows = {row["name"]: row for row in parameters(path)}
    assert {n: (tuple(r["shape"]), r["count"]) for n, r in rows.items()} == {
        "a": ((5,), 5),
        "b": ((2, 3), 6),
    }
    save_file(tensors, path, {ORDER: '["b", "a"]'})
    assert [row["name"] for row in parameters(path)] == ["b", "a"]
    path.write_bytes(b"\x00" * 4)
    assert parameters(path) == []
    assert parameters(tmp_path / "missing") == []

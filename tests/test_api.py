"""The Python functions: what they take, what they give, where they must work."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fitwell as fw
from fitwell import store
from fitwell.errors import DataError, FolderError, SettingError
from fitwell.trials.budget import Limit, limit_of

FAST = {"epochs": 2}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    return tmp_path


def folder_of(run: fw.Run) -> Path:
    assert run.folder is not None
    return run.folder


def blobs(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    y = np.arange(n) % 3
    return random.normal(size=(n, 4)).astype(np.float32) + 3 * np.eye(4)[y].astype(np.float32), y


def test_fit_takes_arrays_and_gives_a_run() -> None:
    X, y = blobs()
    run = fw.fit((X, y), model="mlp", settings={"train.epochs": 20})
    assert run.scores["test"]["accuracy"] > 0.8
    assert run.predict(X[:3])[0]["prediction"] in ("0", "1", "2")
    assert isinstance(run.model, torch.nn.Module) and not run.model.training
    assert "accuracy" in run._repr_html_() and "accuracy" in repr(run)
    assert run.report().name == "report.html" and run.report().stat().st_size > 1000
    looked = fw.evaluate(run)
    assert looked["scores"]["accuracy"] == run.scores["test"]["accuracy"]


def test_fit_takes_a_data_frame_and_a_dataset() -> None:
    pandas = pytest.importorskip("pandas")
    X, y = blobs()
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(label=[f"c{i}" for i in y])
    run = fw.fit(frame, settings={**FAST, "data.target": "label"})
    assert run.spec is not None and run.spec.classes == ("c0", "c1", "c2")
    assert fw.predict(run, frame[["a", "b", "c", "d"]][:2])[0]["prediction"] in run.spec.classes
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    assert fw.fit(dataset, settings=FAST).status == "done"


def test_a_run_is_a_start_for_another() -> None:
    first = fw.fit("digits", model="lenet", settings={**FAST, "optim.lr": 0.02, "data.limit": 200})
    again = fw.fit(first, settings={"train.seed": 1})
    assert again.recipe is not None and first.recipe is not None
    assert again.recipe.changes(first.recipe) == {"train.seed": (1, 0)}
    other = fw.fit(str(first.folder), model="linear")
    assert other.recipe is not None
    assert other.recipe["optim.lr"] == 0.02 and "model.pool" not in other.recipe
    reopened = fw.open(folder_of(first))
    assert reopened.scores == first.scores and reopened.recipe == first.recipe


def test_what_was_read_as_a_table_stays_one(here: Path) -> None:
    days = np.datetime64("2023-01-01") + np.arange(80)
    x = np.random.default_rng(0).normal(size=(80, 2))
    rows = [f"{d},{a:.2f},{b:.2f}" for d, (a, b) in zip(days, x, strict=True)]
    gappy = [row for i, row in enumerate(rows) if i % 5]  # too many days are missing: a table
    shop = here / "shop.csv"
    shop.write_text("\n".join(["day,visitors,sales", *gappy]), encoding="utf-8")
    run = fw.fit(shop, settings={**FAST, "source": str(shop)})
    assert run.recipe is not None and run.recipe["data.kind"] == "table"
    shop.write_text("\n".join(["day,visitors,sales", *rows]), encoding="utf-8")
    spec = fw.check(shop).spec
    assert spec is not None and spec.task == "forecasting"
    folder = folder_of(run)
    copied = here / "copied.toml"
    copied.write_text((folder / "recipe.toml").read_text())
    # As folders were before: the recipe does not say what was read, the spec does.
    old = (folder / "recipe.toml").read_text().replace('kind = "table"', 'kind = "auto"')
    assert 'kind = "auto"' in old
    (folder / "recipe.toml").write_text(old)
    for source in (run, folder, folder / "recipe.toml", copied):
        again = fw.fit(source)
        assert again.spec is not None and again.spec.kind == "table"
        assert again.recipe is not None and again.recipe["data.kind"] == "table"
    shop.write_text("\n".join(["day,visitors,sales", *gappy]), encoding="utf-8")
    digits = fw.fit("digits", settings={**FAST, "data.limit": 200}).recipe
    assert digits is not None and digits["data.kind"] == "auto"


def test_a_table_that_may_be_a_series_is_gone_on_with(here: Path) -> None:
    days = np.datetime64("2023-01-01") + np.arange(80)
    rows = [f"{day},{0.5 * (i % 7)},{i / 4}" for i, day in enumerate(days)]
    (here / "shop.csv").write_text("\n".join(["day,visitors,sales", *rows]), encoding="utf-8")
    run = fw.fit("shop.csv", settings={**FAST, "data.kind": "table"})
    folder = folder_of(run)
    for name, old, new in (
        ("recipe.toml", 'kind = "table"', 'kind = "auto"'),  # as it was before
        ("run.json", '"done"', '"interrupted"'),
    ):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    assert fw.resume(folder).scores == run.scores


def test_equal_runs_are_bit_equal_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    runs = [fw.fit("wine", settings=FAST) for _ in range(2)]
    weights = [(folder_of(r) / "best.safetensors").read_bytes() for r in runs]
    assert weights[0] == weights[1]
    assert torch.equal(before, torch.random.get_rng_state())


def test_functions_stay_functions_when_modules_of_the_same_name_are_imported() -> None:
    import fitwell.improve
    import fitwell.predict
    import fitwell.show  # noqa: F401

    assert callable(fw.predict) and callable(fw.improve) and callable(fw.show)
    assert not isinstance(fw.predict, type(sys))


def test_importing_fitwell_is_light() -> None:
    code = (
        "import sys, fitwell, fitwell.settings;"
        "assert not {'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_compare_recipes_by_new_trials() -> None:
    X, y = blobs(120)
    start = {"train.epochs": 15, "data.folds": 3, "model.width": 32}
    good = fw.fit((X, y), settings=start)
    assert good.recipe is not None
    bad = fw.Recipe({**good.recipe, "optim.lr": 1e-6})
    verdict = fw.compare(good, bad)
    assert verdict.trials == 9 and verdict.decision == "hurts"
    assert verdict.high is not None and verdict.high < 0
    with pytest.raises(SettingError, match=r"data\.folds"):
        fw.compare(good, good.recipe.edit({"data.folds": 4}))


def test_a_failed_run_is_given_with_its_reason() -> None:
    wild = {"optim.name": "sgd", "optim.lr": 100, "loss.name": "mse"}
    run = fw.fit("diabetes", settings={**FAST, **wild})
    assert run.status == "failed" and run.failure
    assert fw.open(folder_of(run)).status == "failed"


def test_data_that_changed_is_not_resumed(here: Path) -> None:
    X, y = blobs()
    np.savez("data.npz", X=X, y=y)
    run = fw.fit("data.npz", settings=FAST)
    folder = folder_of(run)
    text = (folder / "run.json").read_text().replace('"done"', '"interrupted"')
    (folder / "run.json").write_text(text)
    np.savez("data.npz", X=X + 1, y=y)  # as many, under the same keys
    with pytest.raises(FolderError, match="changed"):
        fw.resume(folder)


def test_a_folder_that_another_process_writes_into_is_left_alone(here: Path) -> None:
    run = fw.fit("digits", model="linear", settings=FAST)
    folder = folder_of(run)
    text = (folder / "run.json").read_text().replace('"done"', '"interrupted"')
    (folder / "run.json").write_text(text)
    with store.locked(folder), pytest.raises(FolderError, match="Another fitwell is writing"):
        fw.resume(folder)
    assert fw.resume(folder).status == "done"
    assert not (folder / store.LOCK).exists()


def test_findings_stand_in_the_run_folder(here: Path) -> None:
    whole = fw.cv("digits", model="linear", settings={**FAST, "data.limit": 200})
    for run in (fw.fit("digits", model="linear", settings=FAST), whole):
        document = store.read_json(folder_of(run) / "findings.json")
        assert document == fw.diagnose(run).to_json()
        assert document["findings"] or document["not_assessed"]


def test_a_source_is_named_once() -> None:
    with pytest.raises(SettingError, match="Name it once"):
        fw.fit("digits", settings={**FAST, "source": "wine"})


def test_pairs_are_not_ended_by_the_clock(here: Path) -> None:
    settings = {**FAST, "train.max_seconds": 5}
    for paired in (
        lambda: fw.improve("wine", settings=settings),
        lambda: fw.compare(
            fw.Recipe({"source": "wine"}), fw.Recipe({"source": "wine", **settings})
        ),
    ):
        with pytest.raises(SettingError, match="equal numbers of examples") as caught:
            paired()
        assert caught.value.setting == "train.max_seconds"
    assert not Path("runs").exists()


def test_budget_texts() -> None:
    times = {"10m": 600, 30: 30, "1h30m": 5400, " 90 s": 90}
    assert {text: limit_of(text) for text in times} == {k: Limit(v) for k, v in times.items()}
    assert limit_of("1 trial") == Limit(1, "trials") and limit_of("20epochs") == Limit(20, "epochs")
    assert limit_of("") is None and str(limit_of(str(Limit(20, "epochs")))) == "20epochs"
    assert Limit(10, "trials").exceeds(Limit(3600)) and Limit(61).exceeds(Limit(60))
    assert not Limit(10, "trials").exceeds(Limit(10, "trials"))
    for wrong in ("soon", "-5", "0", "10x", "5m3", "0trials", "2.5 trials", "trials"):
        with pytest.raises(SettingError, match="such as 90s"):
            limit_of(wrong)


def test_check_never_raises_for_bad_data() -> None:
    assert fw.check("nowhere").data is None
    assert not fw.check("nowhere").usable and fw.check("wine").usable
    with pytest.raises(DataError):
        fw.fit("nowhere")
    assert not Path("runs").exists()


def test_show_agrees_with_a_count_by_hand() -> None:
    settings = {"model.width": 10, "model.depth": 1, "model.waves": 0}
    said = fw.show("wine", model="mlp", settings=settings)
    assert said["parameters"] == 13 * 10 + 10 + 10 * 3 + 3
    assert said["multiply_adds"] == 13 * 10 + 10 * 3


def test_tied_parameters_are_counted_once() -> None:
    from fitwell.show import parameter_table

    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    rows = {row["name"]: row for row in parameter_table(model)}
    assert rows["1.weight"]["tied_to"] == "0.weight" and rows["1.weight"]["count"] == 0
    assert sum(r["count"] for r in rows.values()) == sum(p.numel() for p in model.parameters())


def test_an_unguarded_script_works(here: Path) -> None:
    Path("script.py").write_text(
        "import fitwell as fw\n"
        "run = fw.cv('wine', settings={'epochs': 2, 'data.folds': 2})\n"
        "print(len(run.trials), run.status)\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "done"]


def test_a_notebook_works(here: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cells = [
        "import torch, fitwell as fw",
        "def net(spec, *, width: int = 8):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(*spec.input_shape, width), torch.nn.ReLU(),\n"
        "                               torch.nn.Linear(width, spec.num_outputs))",
        "run = fw.cv('wine', model=net, settings={'epochs': 2, 'data.folds': 2, 'model.width': 5})\n"
        "assert run.status == 'done' and run.recipe['model.width'] == 5",
        "fw.fit('wine', settings={'epochs': 2})",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute(cwd=str(here))
    shown = book.cells[-1].outputs[-1]["data"]
    assert "<table>" in shown["text/html"]


def test_a_run_in_memory_is_split_otherwise_but_not_read_otherwise(here: Path) -> None:
    (here / "images" / "a").mkdir(parents=True)  # what the current folder holds is not its data
    run = fw.fit(blobs(), settings=FAST)
    assert len(fw.cv(run, settings={"data.folds": 3}).trials) == 3
    with pytest.raises(SettingError, match="in memory") as caught:
        fw.fit(run, settings={"data.limit": 50})
    assert caught.value.setting == "data.limit"
    with pytest.raises(DataError, match="No source was named"):
        fw.fit("", settings=FAST)


def table(path: Path, order: np.ndarray) -> None:
    X, y = blobs()
    rows = [",".join(map(str, [*X[i], f"c{y[i]}"])) for i in order]
    path.write_text("\n".join(["a,b,c,d,label", *rows]) + "\n")


def test_a_model_is_not_scored_on_what_it_was_trained_on(here: Path) -> None:
    table(here / "data.csv", np.arange(200))
    limited = {**FAST, "data.target": "label", "data.limit": 100, "seed": 3}
    fw.fit("data.csv", settings=limited, out="run")
    assert fw.evaluate("run")["scores"] == fw.open("run").scores["test"]
    assert fw.open("run").test_looks == 2  # the second was the evaluation's
    table(here / "data.csv", np.random.default_rng(0).permutation(200))
    with pytest.raises(FolderError, match="changed since it was begun"):
        fw.evaluate("run")
    assert fw.evaluate("run", "data.csv", settings={"data.target": "label"})["scores"]


def test_cross_validations_of_different_data_are_not_compared(here: Path) -> None:
    settings = {**FAST, "data.target": "label", "data.folds": 2}
    table(here / "one.csv", np.arange(200))
    fw.cv("one.csv", settings=settings, out="first")
    table(here / "one.csv", np.arange(200)[::-1])
    fw.cv("one.csv", settings=settings, out="second")
    assert fw.compare("first", "second").trials == 6  # trained again, both on what is there now
    table(here / "two.csv", np.arange(200))
    fw.cv("two.csv", settings=settings, out="third")
    with pytest.raises(SettingError, match="source differs"):
        fw.compare("second", "third")


def test_images_of_two_sizes_are_not_compared() -> None:
    """What is cut off may differ with it; of boxes alone the scores are the same."""
    recipe = fw.Recipe({"source": "digits", "data.image_size": 8})
    with pytest.raises(SettingError, match=r"data\.image_size differs"):
        fw.compare(recipe, recipe.edit({"data.image_size": 16}))


def test_runs_of_different_recipes_are_not_diagnosed_together() -> None:
    runs = [fw.fit("wine", settings={**FAST, "lr": lr}) for lr in (0.1, 0.2)]
    with pytest.raises(SettingError, match=r"optim\.lr is 0\.1 in one run and 0\.2 in another"):
        fw.diagnose(*runs)
    assert fw.diagnose(*[fw.fit("wine", settings={**FAST, "seed": s}) for s in (1, 2)]) is not None


def test_nothing_is_missing_where_there_are_no_activations() -> None:
    run = fw.fit("wine", model="linear", settings=FAST)
    missing = {entry.name for entry in fw.diagnose(run).not_assessed}
    assert not missing & {"dying_relu", "saturated_activation", "vanishing_gradient"}


def test_early_stopping_needs_something_to_stop_by() -> None:
    settings = {**FAST, "train.patience": 3, "data.validation": 0}
    with pytest.raises(SettingError, match="no validation part") as caught:
        fw.fit("wine", settings=settings)
    assert caught.value.setting == "train.patience" and not Path("runs").exists()


def test_a_limit_counts_where_the_number_of_epochs_is_chosen() -> None:
    everything = fw.fit("digits", settings={"model": "linear"})
    few = fw.fit("digits", settings={"model": "linear", "data.limit": 300})
    assert everything.recipe is not None and few.recipe is not None
    assert few.recipe["train.epochs"] > 1.5 * everything.recipe["train.epochs"]


def test_a_cross_validation_has_no_model() -> None:
    run = fw.cv("wine", settings={**FAST, "data.folds": 2})
    with pytest.raises(FolderError, match="a cross-validation keeps none"):
        fw.evaluate(run)


def test_what_check_returns_shows_itself_in_a_few_lines(tmp_path: Path) -> None:
    shown = repr(fw.check("digits"))
    assert shown.startswith("digits, images, 1,797 examples: ") and len(shown) < 1000
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,x\n2,\n3,z\n")
    said = repr(fw.check(path)).splitlines()
    assert said[0] == "unreadable data: 1 problem" and said[1].startswith("error: ")

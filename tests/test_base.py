"""Recipe, settings, store: the base that everything stands on, none of it with torch."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fitwell import settings, store
from fitwell.api.naming import list_kind
from fitwell.errors import FolderError, SettingError
from fitwell.recipe import Recipe
from fitwell.record import Run

VALUES = {
    "source": "digits",
    "model.name": "lenet",
    "model.dropout": [0.2, 0.5],
    "optim.lr": 0.1,
    "train.epochs": 3,
    "optim.nesterov": True,
}


def test_a_recipe_survives_its_file(tmp_path: Path) -> None:
    recipe = Recipe(VALUES)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.load(tmp_path / "recipe.toml") == recipe
    assert recipe.edit({"optim.lr": 0.2}) != recipe
    assert recipe["optim.lr"] == 0.1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("nan")]])
def test_a_setting_that_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(SettingError, match=r"optim\.lr = .*finite"):
        Recipe({"optim.lr": value})


REFUSED = [
    ({"optim.momentun": 0.9}, "Did you mean momentum"),
    ({"model.name": "lenett"}, "Did you mean lenet"),
    ({"modle.name": "lenet"}, "no such setting"),
    ({"optim.lr": "-1"}, "must be more than 0"),
    ({"optim.lr": "nan"}, "finite"),
    ({"optim.lr": "fast"}, "must be a number"),
    ({"train.epochs": "1.5"}, "whole number"),
    ({"train.epochs": "0"}, "at least 1"),
    ({"model.name": "lenet", "model.activation": "rellu"}, "Did you mean relu"),
    ({"model.name": "linear", "model.activation": "relu"}, "linear has no such setting"),
    ({"data.validation": "0.9"}, "at most 0.5"),
    ({"optim.name": "sgd", "optim.nesterov": "maybe"}, "true or false"),
]


@pytest.mark.parametrize(("given", "says"), REFUSED)
def test_a_wrong_setting_is_refused_with_the_next_step(given: dict, says: str) -> None:
    with pytest.raises(SettingError, match=says) as caught:
        settings.validate(given)
    assert caught.value.setting in settings.dotted(next(reversed(given)))


def test_aliases_and_texts_become_values() -> None:
    assert settings.validate({"lr": "1e-2", "batch-size": "32", "epochs": 4, "model": "mlp"}) == {
        "optim.lr": 0.01,
        "train.batch_size": 32,
        "train.epochs": 4,
        "model.name": "mlp",
    }


def test_settings_json_equals_the_signatures() -> None:
    fresh = subprocess.run(
        [sys.executable, "-m", "fitwell.catalog"], capture_output=True, text=True, check=True
    ).stdout
    committed = Path(settings.__file__).with_name("settings.json").read_text(encoding="utf-8")
    assert fresh == committed, "run: python -m fitwell.catalog --write"


# A finding is described by symptom, mechanism and threshold instead (tests/test_findings.py).
WITHOUT: dict[str, tuple[str, ...]] = {
    "sources": ("formula",),
    "remedies": ("formula",),
    "findings": ("formula", "use", "weakness"),
}


def test_every_entry_of_the_catalogue_says_what_it_is() -> None:
    for kind, entries in settings.summaries().items():
        for name, entry in entries.items():
            parts = {"summary", "formula", "use", "weakness", "source"} - {*WITHOUT.get(kind, ())}
            missing = [part for part in sorted(parts) if not entry[part]]
            assert not missing, (kind, name, missing)


def test_every_setting_has_a_meaning_and_a_default_that_it_accepts() -> None:
    for section, entries in settings.known().items():
        for entry, schemas in entries.items():
            for name, schema in schemas.items():
                assert schema.get("description"), (section, entry, name)
                default = schema["default"]
                assert settings.check_value(name, default, schema) == default
    for kind, table in settings.signatures().items():
        for entry, schemas in table.items():
            assert all(schema.get("description") for schema in schemas.values()), (kind, entry)
            assert settings.arguments(kind, entry, {}).keys() == schemas.keys()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    store.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        store.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(RuntimeError), store.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_torn_last_row_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    store.append_rows(path, [{"step": 0}, {"step": 1}])
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert store.read_rows(path) == [{"step": 0}, {"step": 1}]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    store.save_run(Run(), tmp_path / "run")
    store.write_json(tmp_path / "run" / "format", 2)
    with pytest.raises(FolderError, match="newer fitwell"):
        store.open_run(tmp_path / "run")


@pytest.mark.parametrize("text", ['{"sco', "", "null", "[1]", "\udcff"])
@pytest.mark.parametrize("name", ["run.json", "spec.json", "environment.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    store.save_run(Run(), tmp_path)
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FolderError, match=rf"{name} is damaged"):
        store.open_run(tmp_path)


@pytest.mark.parametrize("name", ["steps.jsonl", "format", "predictions/test.parquet"])
def test_damaged_rows_and_predictions_are_named(tmp_path: Path, name: str) -> None:
    store.save_run(Run(), tmp_path)
    (tmp_path / "predictions").mkdir()
    (tmp_path / name).write_bytes(b"\xff\xfe")
    with pytest.raises(FolderError, match=rf"{name} is damaged"):
        store.open_run(tmp_path)


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "Make room, then resume"), (errno.EACCES, "written to")]
)
def test_a_failed_write_says_what_to_do(tmp_path: Path, number: int, says: str) -> None:
    with pytest.raises(FolderError, match=says), store.saying_no_space(tmp_path):
        raise OSError(number, os.strerror(number))


def test_a_folder_that_cannot_be_marked_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise FolderError("full")

    monkeypatch.setattr(store, "write_json", full)
    with pytest.raises(FolderError, match="full"):
        store.new_folder(tmp_path / "run", source="a", model="b")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="not a run folder"):
        store.open_run(tmp_path)


def test_a_taken_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FolderError, match="never overwritten"):
        store.new_folder(tmp_path, source="digits", model="lenet")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_of_two_runs_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def claim() -> None:
        start.wait()
        try:
            store.new_folder(tmp_path / "run", source="digits", model="lenet")
            outcomes.append("mine")
        except FolderError:
            outcomes.append("taken")

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["mine"] + ["taken"] * 7


def test_looks_at_a_test_set_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path))
    assert [store.look_at_test("abc", "run") for _ in range(3)] == [1, 2, 3]
    assert store.look_at_test("other", "run") == 1


def test_predictions_survive_their_file(tmp_path: Path) -> None:
    from fitwell.record import Predictions

    rng = np.random.default_rng(0)
    kept = Predictions(
        keys=np.array(["a/1.png", "b/2.png"]),
        index=np.array([4, 9]),
        target=np.array([0, 2]),
        prediction=np.array([1, 2]),
        probabilities=rng.random((2, 12)),
        loss=np.array([0.5, 0.25]),
    )
    store.write_predictions(tmp_path / "p.parquet", kept, None)
    read = store.read_predictions(tmp_path / "p.parquet")
    for name in ("keys", "index", "target", "prediction", "probabilities", "loss"):
        assert np.array_equal(getattr(read, name), getattr(kept, name)), name


def test_the_base_does_not_import_torch() -> None:
    code = (
        "import sys, fitwell.settings, fitwell.store, fitwell.record, fitwell.recipe;"
        "print([m for m in ('torch', 'sklearn', 'polars') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_list_of_runs_reads_no_rows_and_no_whole_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe({"source": "wine", "model.name": "mlp", "score.name": "f1"})
    for name, score in (("a", 0.5), ("b", 0.75)):
        scores = {"validation": {"loss": 1.0, "accuracy": 0.1, "f1": score}}
        run = Run(recipe=recipe, status="done", scores=scores, steps=[{"step": 0}])
        store.save_run(run, Path("runs") / name)
    store.save_run(Run(recipe=recipe, status="interrupted"), Path("runs/c"))
    store.save_run(Run(), Path("runs/newer"))
    Path("runs/newer/format").write_text("99\n")
    for name in ("read_rows", "read_predictions"):
        monkeypatch.setattr(store, name, lambda path: pytest.fail("read"))
    monkeypatch.setattr(Recipe, "load", lambda path: pytest.fail("read"))
    rows = {row["name"]: row["summary"] for row in list_kind("runs")}
    assert rows["runs/a"] == "done, f1 0.5" and rows["runs/b"] == "done, f1 0.75"
    assert rows["runs/c"] == "interrupted"
    assert rows["runs/newer"].startswith("cannot be opened: runs/newer has run-folder format 99")

"""The command line: exit codes, JSON shapes, what is refused, how fast it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitwell import store
from fitwell.cli.main import run
from fitwell.cli.options import is_pair, settings_of
from fitwell.errors import SettingError

FAST = ["--epochs", "2", "data.limit=300", "--quiet"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    """(exit code, the document on stdout, stderr) of a command with --json."""
    code = run([*arguments, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run of digits, for all tests that only read it."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    assert run(["fit", "digits", "--epochs", "8", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_fit_writes_the_folder_and_says_the_scores(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    code, said, err = call(capsys, "fit", "digits", *FAST, "--out", "first", "lr=0.1")
    assert code == 0 and err == ""
    assert said["run"] == "first" and said["seconds"] > 0 and said["test_looks"] == 1
    assert set(said["scores"]) >= {"train", "validation", "test"}
    assert 0 < said["scores"]["test"]["accuracy"] <= 1
    names = {p.name for p in Path("first").iterdir()}
    assert names >= set(
        "format recipe.toml spec.json preprocess split.parquet environment.json steps.jsonl "
        "epochs.jsonl probes.jsonl predictions best.safetensors last log.txt report.html".split()
    )
    assert "lr = 0.1" in Path("first/recipe.toml").read_text()


def test_runs_get_the_next_free_folder_and_git_leaves_them_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [call(capsys, "fit", "digits", *FAST)[1]["run"] for _ in range(2)]
    assert names == ["runs/digits-lenet-1", "runs/digits-lenet-2"]
    assert Path("runs/.gitignore").read_text().strip() == "*"


def test_a_taken_folder_is_refused_untouched(
    capsys: pytest.CaptureFixture[str], fitted: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in fitted.rglob("*")}
    code, said, err = call(capsys, "fit", "digits", *FAST, "--out", str(fitted))
    assert code == 2 and said["error"]["kind"] == "folder"
    assert said["error"]["message"] in err and err.count("\n") == 1
    assert before == {p: p.stat().st_mtime_ns for p in fitted.rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "setting", "word"),
    [
        (["optim.momentun=0.5"], "optim.momentun", "Did you mean momentum?"),
        (["--epochs", "-3"], "train.epochs", "at least 1"),
        (["--lr", "nan"], "optim.lr", "finite"),
        (["--set", "train.batch_size=1000000"], "train.batch_size", "larger than"),
        (["--model", "lenett"], "model.name", "Did you mean lenet?"),
        (["--lr", "0.1", "lr=0.2"], "optim.lr", "twice"),
        (["loss.name=mse"], "loss.name", "classification"),
        (["--device", "tpu"], "train.device", "not on this machine"),
        (["--model", "os:getcwd"], "model.name", "torch.nn.Module"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str],
    here: Path,
    arguments: list[str],
    setting: str,
    word: str,
) -> None:
    code, said, err = call(capsys, "fit", "digits", *arguments, "--quiet")
    assert code == 2
    assert said["error"]["setting"] == setting and said["error"]["kind"] == "setting"
    assert word in err
    assert not Path("runs").exists()


@pytest.mark.parametrize("verb", ["cv", "improve"])
@pytest.mark.parametrize("size", ["240", "300"])
def test_a_batch_larger_than_a_fold_is_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], here: Path, verb: str, size: str
) -> None:
    code, said, _ = call(capsys, verb, "digits", "data.limit=300", "--batch-size", size, "--quiet")
    assert code == 2 and said["error"]["setting"] == "train.batch_size"
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["fit", ""], "empty word"),
        (["--model", "lenet", "fit", "digits"], "after the verb"),
        (["fti", "digits"], "Did you mean fit?"),
        (["fit", "digits", "--epoch", "3"], "Did you mean --epochs?"),
        (["fit"], "SOURCE"),
        (["fit", "digits", "wine"], "SOURCE"),
        (["improve", "digits", "--budget", "soon"], "10m"),
        (["list", "modles"], "Did you mean models?"),
        (["explain", "dropuot"], "Did you mean dropout?"),
        (["explain", "conv2d", "kernal=3"], "Did you mean kernel?"),
        (["explain", "conv2d", "input=[28,28]"], "[channel, height, width], and gets [28, 28]"),
        (["explain", "conv2d", "input=[1,28,0]"], "at least 1"),
        (["explain", "conv2d", "input=[1,28,28]", "kernel=40"], "does not fit"),
        (["explain", "adam", "optim.lr=0.1"], "explained without settings"),
        (["explain", "optim.lr", "optim.lr=0.1"], "explained without settings"),
        (["fit", "digtis"], "Did you mean digits?"),
        (["diagnose", "nowhere"], "not a run folder"),
        (["predict", "nowhere"], "at least one file"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    code, said, err = call(capsys, *arguments)
    assert code == 2 and word in said["error"]["message"]
    assert err.strip() == said["error"]["message"]
    assert not Path("runs").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "digits", "optim.momentun=0.1"]])
def test_help_and_a_misspelt_setting_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from fitwell.cli.main import run; run(sys.argv[1:]);"
        "heavy = {'torch', 'numpy', 'pydantic', 'rich', 'polars', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", code, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def test_check_imports_neither_torch_nor_scikit_learn(here: Path) -> None:
    lines = "".join(f"{i / 7},{i % 3},{i % 2}\n" for i in range(80))
    (here / "t.csv").write_text("a,b,y\n" + lines, encoding="utf-8")
    code = (
        "import sys; from fitwell.cli.main import run; assert run(sys.argv[1:]) == 0;"
        "heavy = {'torch', 'torchvision', 'sklearn', 'scipy', 'pandas'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, "check", "t.csv"], check=True, capture_output=True)


def test_words_and_flags_become_settings(here: Path) -> None:
    flags = {"optim.lr": "0.3"}
    assert settings_of(["batch-size=16"], flags) == {"optim.lr": 0.3, "train.batch_size": 16}
    Path("a=b").mkdir()
    assert (
        is_pair("optim.lr=1") and not is_pair("a=b") and not is_pair("./x=1") and not is_pair("x")
    )
    with pytest.raises(SettingError, match="key=value"):
        settings_of(["optim.lr"], {})


def test_evaluate_gives_the_score_of_fit_and_counts_the_look(
    capsys: pytest.CaptureFixture[str], fitted: Path
) -> None:
    recorded = json.loads((fitted / "run.json").read_text())
    _, first, _ = call(capsys, "evaluate", str(fitted))
    code, second, _ = call(capsys, "evaluate", str(fitted))
    assert code == 0 and second["test_looks"] == first["test_looks"] + 1
    assert first["scores"]["accuracy"] == recorded["scores"]["test"]["accuracy"]
    assert first["scores"]["loss"] == pytest.approx(recorded["scores"]["test"]["loss"], rel=1e-5)


def test_evaluate_another_source(
    capsys: pytest.CaptureFixture[str], fitted: Path, here: Path
) -> None:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    np.savez("digits.npz", X=images[:200], y=bunch.target[:200])
    code, said, _ = call(capsys, "evaluate", str(fitted), "digits.npz")
    assert code == 0 and said["scores"]["accuracy"] > 0.9 and said["test_looks"] == 1


def test_predict_images_and_arrays(
    capsys: pytest.CaptureFixture[str], fitted: Path, here: Path
) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    np.savez("new.npz", X=images[:50, None])
    code, rows, _ = call(capsys, "predict", str(fitted), "new.npz")
    assert code == 0 and len(rows) == 50
    assert all(set(r) == {"input", "prediction", "probability"} for r in rows)
    right = np.mean([r["prediction"] == str(t) for r, t in zip(rows, bunch.target, strict=False)])
    assert right > 0.9
    Image.fromarray(images[0]).save("zero.png")
    _, (row,), _ = call(capsys, "predict", str(fitted), "zero.png")
    assert row["input"] == "zero.png"
    assert row["prediction"] == rows[0]["prediction"]
    assert row["probability"] == pytest.approx(rows[0]["probability"], abs=1e-5)


def test_check_lists_problems_whatever_the_exit_code(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    code, said, _ = call(capsys, "check", "digits")
    assert code == 0 and said["kind"] == "images" and len(said["spec"]["classes"]) == 10
    Path("one.csv").write_text("a,label\n" + "1,x\n" * 20)
    code, said, err = call(capsys, "check", "one.csv")
    assert code == 2 and said["problems"] and err
    worst = [p for p in said["problems"] if p["severity"] == "error"]
    assert worst and all(p["where"] and p["mend"] and p["name"] for p in worst)
    assert run(["check", "one.csv"]) == 2
    assert "→" in capsys.readouterr().out


def test_list_and_explain(capsys: pytest.CaptureFixture[str]) -> None:
    from fitwell.api.naming import KINDS

    for kind in KINDS:
        code, rows, _ = call(capsys, "list", kind)
        assert code == 0 and all({"name", "summary"} <= set(r) for r in rows), kind
    code, entry, _ = call(capsys, "explain", "sgd")
    assert code == 0
    assert set(entry) >= {"name", "formula", "use", "weakness", "source", "settings"}
    assert "momentum" in entry["settings"] and entry["formula"]
    dropout = call(capsys, "explain", "dropout")[1]
    assert dropout["kind"] == "layers" and dropout["formula"]  # and not the remedy by that name
    assert dropout["settings"]["model.dropout"]["default"] == 0.0


def test_text_stays_within_80_columns(
    capsys: pytest.CaptureFixture[str], fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = [
        ["--help"],
        ["fit", "--help"],
        ["list", "settings"],
        ["explain", "adam"],
        ["explain", "gelu"],
        ["explain", "conv2d", "input=[1,64,64]", "dilation=3"],
        ["show", str(fitted)],
        ["show", "digits", "--model", "convnet", "model.depth=9"],
        ["check", "digits"],
        ["evaluate", str(fitted)],
        ["resume", str(fitted), "-q"],
    ]
    for command in commands:
        assert run(command) == 0
        lines = capsys.readouterr().out.splitlines()
        long = [line for line in lines if len(line) > 80 and str(fitted) not in line]
        assert not long, (command, long)


def test_show_counts_parameters(capsys: pytest.CaptureFixture[str], fitted: Path) -> None:
    code, said, _ = call(capsys, "show", str(fitted))
    assert code == 0 and {"layers", "parameters", "multiply_adds"} <= set(said)
    assert said["parameters"] == sum(row["count"] for row in said["table"]) == 21386
    assert call(capsys, "show", "digits", "--model", "lenet")[1]["parameters"] == 21386
    recipe = str(fitted / "recipe.toml")
    assert call(capsys, "show", recipe)[1]["multiply_adds"] == said["multiply_adds"]


def test_resume_of_a_finished_run_prints_its_result(
    capsys: pytest.CaptureFixture[str], fitted: Path
) -> None:
    code, said, _ = call(capsys, "resume", str(fitted))
    assert code == 0 and said["scores"]["test"]["accuracy"] > 0.8


@pytest.mark.parametrize("name", ["spec.json", "run.json", "split.parquet", "report.html"])
def test_ctrl_c_at_any_file_names_resume_which_ends_in_the_same_weights(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also before the first checkpoint, and between the last one and the report."""
    command = ["fit", "wine", "--epochs", "3", "--seed", "5", "--quiet"]
    assert run([*command, "--out", "whole"]) == 0
    capsys.readouterr()
    replacing = store.replacing

    def stop(path: Path) -> Any:
        if path.name == name:
            raise KeyboardInterrupt
        return replacing(path)

    with monkeypatch.context() as patch:
        patch.setattr(store, "replacing", stop)
        code, _, err = call(capsys, *command, "--out", "cut")
    assert code == 130 and "fitwell resume cut" in err
    assert call(capsys, "resume", "cut", "--quiet")[0] == 0
    assert Path("cut/best.safetensors").read_bytes() == Path("whole/best.safetensors").read_bytes()
    assert Path("cut/report.html").is_file()


def test_ctrl_c_before_anything_is_saved_leaves_no_folder(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "save_run", stop)
    code, _, _ = call(capsys, "fit", "wine", "--epochs", "1", "--out", "cut", "--quiet")
    assert code == 130 and not Path("cut").exists()


@pytest.mark.parametrize("text", ['{"a', "{}"])
def test_a_damaged_improvement_is_named(
    capsys: pytest.CaptureFixture[str], here: Path, fitted: Path, text: str
) -> None:
    shutil.copytree(fitted, "cut")
    Path("cut/improve.json").write_text(text)
    code, said, _ = call(capsys, "resume", "cut", "--quiet")
    assert code == 2 and "improve.json is damaged" in said["error"]["message"]


@pytest.mark.filterwarnings("default::UserWarning")
def test_what_predict_cannot_read_is_said(
    capsys: pytest.CaptureFixture[str], here: Path, fitted: Path
) -> None:
    rows = "".join(f"{i % 7},{'ab'[i % 2]},{'yn'[i % 2]}\n" for i in range(60))
    Path("t.csv").write_text("n,kind,target\n" + rows)
    assert run(["fit", "t.csv", "--epochs", "1", "--out", "table", "--quiet"]) == 0
    Path("new.csv").write_text("kind,n\nzebra,1\n")
    capsys.readouterr()
    code, said, err = call(capsys, "predict", "table", "new.csv")
    assert code == 0 and len(said) == 1
    assert "Note: kind: 1 row with unknown categories: zebra" in err
    assert "and this model reads a table" in call(capsys, "evaluate", "table", str(here))[2]
    assert "holds a table" in call(capsys, "evaluate", str(fitted), "wine")[2]
    assert "source differs" in call(capsys, "compare", str(fitted), "table")[2]
    Path("table/preprocess/preprocess.json").unlink()
    assert "preprocess.json is damaged" in call(capsys, "predict", "table", "new.csv")[2]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_exits_130_names_the_command_and_resume_ends_in_the_same_weights(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    options = ["digits", "--epochs", "60", "--seed", "3", "data.limit=600"]
    command = [sys.executable, "-m", "fitwell", "fit", *options, "--out", "cut", "--json"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    rows = Path("cut/epochs.jsonl")
    deadline = time.monotonic() + 60
    while not (rows.exists() and rows.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "fitwell resume cut" in err
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert call(capsys, "resume", "cut", "--quiet")[0] == 0
    assert run(["fit", *options, "--out", "whole", "--quiet"]) == 0
    assert Path("cut/best.safetensors").read_bytes() == Path("whole/best.safetensors").read_bytes()


def test_cv_diagnose_compare(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    small = ["digits", "--epochs", "12", "data.limit=300", "data.folds=3", "--quiet"]
    code, said, _ = call(capsys, "cv", *small, "--out", "a")
    assert code == 0 and len(said["folds"]) == 3
    scores = [fold["validation"]["accuracy"] for fold in said["folds"]]
    assert said["mean"]["validation"]["accuracy"] == pytest.approx(np.mean(scores))
    assert said["std"]["validation"]["accuracy"] == pytest.approx(np.std(scores, ddof=1))
    import polars as pl

    split = pl.read_parquet("a/split.parquet")
    assert (split["fold"] >= 0).sum() == 300 and len(split) == 1797
    inner = split.explode("validation_of").drop_nulls("validation_of")
    assert len(inner) > 30 and (inner["validation_of"] != inner["fold"]).all()
    held_out = pl.read_parquet("a/predictions/held_out.parquet")
    assert sorted(held_out["index"]) == sorted(split.filter(pl.col("fold") >= 0)["index"])

    assert call(capsys, "cv", *small, "--out", "b", "optim.lr=0.00001")[0] == 0
    code, said, _ = call(capsys, "compare", "b", "a")
    verdict = said["verdict"]
    assert code == 0 and verdict["trials"] == 3 and verdict["decision"] == "helps"
    assert verdict["low"] > 0 and verdict["settings"]["optim.lr"] == 0.05
    backwards = call(capsys, "compare", "a", "b")[1]["verdict"]
    assert backwards["effect"] == pytest.approx(-verdict["effect"])
    assert backwards["decision"] == "hurts"
    code, said, _ = call(capsys, "diagnose", "b")
    assert code == 0 and set(said) >= {"findings", "not_assessed"}
    assert call(capsys, "resume", "a")[1]["mean"]["validation"]["accuracy"] > 0


def test_one_class_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.csv").write_text("a,b,label\n" + "1,2,x\n3,4,x\n" * 3)
    assert run(["check", str(tmp_path / "one.csv")]) == 2
    assert "6 rows of 2 columns, 1 class: x" in capsys.readouterr().out

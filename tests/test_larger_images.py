"""An improvement that shows its pictures larger: every stage reads them at the size of its recipe."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_boxes import scenes, write_voc

import fitwell as fw
from fitwell.data import read
from fitwell.errors import SettingError
from fitwell.improve import flow
from fitwell.record import Diagnosis, Finding, Verdict
from fitwell.remedies import with_remedies
from fitwell.resolve import complete
from fitwell.trials import reading

SMALL = {
    "data.image_size": 64,
    "data.folds": 2,
    "train.epochs": 1,
    "train.batch_size": 2,
    "train.precision": "float32",
}


@pytest.mark.slow
def test_a_larger_size_is_proposed_adopted_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []

    def gather(data: Any, *_: Any, **others: Any) -> list[Any]:
        seen.append(data.inputs.shape[2:])
        return []

    def told(*_: Any) -> Diagnosis:
        small = Finding("objects_too_small", "high", {}, "Small.")
        return Diagnosis([small] if len(seen) == 1 else [])

    def judged(bench: Any, baseline: Any, screening: Any, **others: Any) -> list[Verdict]:
        name, (variant, _) = next(iter(screening.effects.items()))
        helps: dict[str, Any] = {"low": 0.1, "high": 0.3, "p": 0.01, "decision": "helps"}
        return [
            Verdict(name, "confirm", "map50", 0.2, trials=6, settings=variant.settings, **helps)
        ]

    def proposals(diagnosis: Diagnosis, recipe: Any, spec: Any) -> list[Any]:
        found = with_remedies(diagnosis, recipe, spec).findings
        return [(r, f.name) for f in found for r in f.remedies if r.settings][:1]

    for name, instead in (("gather", gather), ("judge", judged), ("proposals", proposals)):
        monkeypatch.setattr(flow, name, instead)
    monkeypatch.setattr("fitwell.findings.diagnose", told)
    source = write_voc(tmp_path / "things", scenes(12))
    better = fw.improve(str(source), settings=SMALL, out=tmp_path / "run")
    assert seen == [(64, 64), (96, 96)]
    assert better.recipe["data.image_size"] == 96
    assert [v.remedy for v in better.verdicts] == ["data.image_size: 64 -> 96"]
    assert better.run.spec is not None and better.run.spec.input_shape == (3, 96, 96)
    assert set(better.baseline["test"]) == set(better.final["test"])
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    again = fw.open(tmp_path / "run")
    held, large = again.predictions["test"], read(str(source), {"image_size": 96})
    np.testing.assert_allclose(held.target, large.targets[held.index])
    assert fw.evaluate(tmp_path / "run")["scores"].keys() == again.scores["test"].keys()
    assert fw.resume(tmp_path / "run").recipe == better.recipe


def test_trials_of_one_arm_read_their_pictures_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(write_voc(tmp_path / "things", scenes(6)))
    data = read(source, {"image_size": 64})
    count = []
    monkeypatch.setattr(reading, "read", lambda *a: count.append(a) or read(*a))
    recipes = [complete({"source": source, "data.image_size": n}, data.spec) for n in (64, 96, 128)]
    assert reading.read_for(data, recipes[0]) is data
    for recipe, side in ((recipes[1], 96), (recipes[1], 96), (recipes[2], 128)):
        assert reading.read_for(data, recipe).inputs.shape[2:] == (side, side)
    assert len(count) == 2


@pytest.mark.slow
def test_recipes_of_two_sizes_are_compared_and_other_data_is_not(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "things", scenes(10))
    recipe = fw.Recipe({**SMALL, "source": str(source)})
    verdict = fw.compare(recipe, recipe.edit({"data.image_size": 96}))
    assert dict(verdict.settings) == {"data.image_size": 96} and verdict.trials == 6
    with pytest.raises(SettingError, match=r"data\.validation differs"):
        fw.compare(recipe, recipe.edit({"data.validation": 0.3}))

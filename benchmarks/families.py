"""Fashion-MNIST, full 60,000: every family from LeNet to ViT with its default recipe, and the best.

`python -m benchmarks.families`: one run a family, at most 30 minutes each on 2 cores, with one look
at the test images. A run is a run folder below `runs/families`, so that one that was interrupted goes
on where it stopped; a finished one becomes a row and is not repeated.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks import common
from fitwell.api import resuming, training
from fitwell.api.results import Run, open_run
from fitwell.show import show_model

FAMILIES = ("lenet", "alexnet", "vgg", "nin", "googlenet", "resnet", "densenet", "vit")
FLOOR, MINUTES = 0.90, 30
# ResNet-18 at half its width, which leaves time for many epochs, with what is usual on small images: flips,
# shifts, erasing, smoothed labels. Fixed before its run, so that no test score chose it.
BEST: dict[str, Any] = {
    "model.name": "resnet",
    "model.width": 32,
    "loss.label_smoothing": 0.1,
    "optim.lr": 0.1,
    "optim.nesterov": True,
    "augment.hflip": 0.5,
    "augment.translate": 0.1,
    "augment.erase": 0.5,
    "data.validation": 0.05,
    "train.epochs": 34,
}
BEST_FLOOR, BEST_MINUTES = 0.945, 90
FOLDER = common.ROOT / "runs" / "families"


def main() -> None:
    result = common.load("families")
    result["columns"] = [
        *("case", "test", "validation", "train", "parameters", "multiply-adds"),
        *("images/s", "minutes", "epochs", "processor"),
    ]
    cases: dict[str, dict[str, Any]] = {name: {"model.name": name} for name in FAMILIES}
    if BEST:
        cases["best"] = BEST
    for case, settings in cases.items():
        if not common.done(result, case=case):
            row = measured(case, settings)
            common.add(result, row)
            print({k: v for k, v in row.items() if k != "recipe"}, flush=True)
        judge(result)


def judge(result: dict[str, Any]) -> None:
    """What was asked beside what each row says; saved, since the whole takes longer than a sitting."""
    for row in result["rows"]:
        best = row["case"] == "best"
        floor, minutes = (BEST_FLOOR, BEST_MINUTES) if best else (FLOOR, MINUTES)
        result.setdefault("limits", {})[row["case"]] = {
            "test accuracy": f"at least {floor}",
            "minutes": f"at most {minutes}",
        }
        result["summary"][row["case"]] = {
            "test accuracy": row["test"],
            "minutes": round(row["minutes"], 1),
        }
    common.save(result)


def measured(case: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Train it, or go on with it, and say what it took."""
    folder = FOLDER / case
    if folder.exists():
        run = resuming.resume(folder)
        assert isinstance(run, Run)
    else:
        # By its name it brings the names of its classes, which say that mirror images are of the same.
        settings = {**settings, "data.root": str(common.FASHION)}
        run = training.fit("fashion-mnist", settings=settings, out=folder, examples=False)
    if run.status != "done":
        raise RuntimeError(f"{case}: {run.status}. {run.failure}")
    run = open_run(folder)  # what is on disk, all of it
    assert run.spec is not None and run.recipe is not None
    network = show_model(run.model, run.spec)
    return {
        "case": case,
        "test": run.scores["test"]["accuracy"],
        "validation": run.scores["validation"]["accuracy"],
        "train": run.scores["train"]["accuracy"],
        "parameters": network["parameters"],
        "multiply-adds": network["multiply_adds"],
        "images/s": common.spread([r["examples"] / r["seconds"] for r in run.epochs])["median"],
        "minutes": run.seconds / 60,
        "epochs": len(run.epochs),
        "seed": run.seed,
        "precision": run.environment["precision"],
        "recipe": dict(run.recipe),
    }


if __name__ == "__main__":
    main()

"""The end of an improvement: final models, one paired look at the test part, the run folder."""

import shutil
from collections.abc import Sequence
from statistics import median

from fitwell import store
from fitwell.data import split
from fitwell.improve.state import Improvement, State, add_evidence
from fitwell.record import Run
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.scoring import mean_scores, paired_test
from fitwell.trials.trial import Task

KEPT = ("best.safetensors", "preprocess/preprocess.json")


def epochs_found(folds: Sequence[Run]) -> int:
    """Median over the folds of the epochs up to the best weights; 0 if all epochs were of use.

    The final model has no inner cut to select by, so it trains for as long as the folds found best,
    on the same schedule.
    """
    done = [r for r in folds if r.status == "done" and r.best_epoch >= 0]
    if not done or done[0].recipe is None:
        return 0
    found = round(median(r.best_epoch + 1 for r in done))
    return 0 if found >= int(done[0].recipe["train.epochs"]) else found  # type: ignore[arg-type]


def finish(
    bench: Bench, state: State, result: Improvement, final: Variant, baseline: Variant
) -> Improvement:
    """Train the final models, compare them on the test part, and write the run folder."""
    rows = split.final_rows(bench.data, result.recipe.section("data"), bench.base_seed)
    has_test = len(rows.held_out) > 0
    arms = [(final, result.final_folds)]
    if final.recipe != baseline.recipe and has_test:
        arms.append((baseline, result.baseline_folds))
    tasks = [
        Task(
            variant.recipe,
            seed=bench.base_seed,
            kind="final",
            variant=variant.name,
            precision=bench.precision,
            title="final model" if variant == final else "baseline, final model",
            epochs=epochs_found(folds),
        )
        for variant, folds in arms
    ]
    bench.phase("final", tasks)
    runs = bench.run(tasks)
    chosen, reference = runs[0], runs[-1]
    if has_test and not state.test_looks:
        # One look: both models are scored by it, and going on after an interruption is no second.
        fingerprint = bench.data.test_fingerprint(rows.held_out)
        state.test_looks = store.look_at_test(fingerprint, state.folder.name)
    result.test_looks = state.test_looks
    result.baseline = {
        "validation": mean_scores(result.baseline_folds),
        "test": dict(reference.scores.get("test", {})) if has_test else {},
    }
    result.final = {
        "validation": mean_scores(result.final_folds),
        "test": dict(chosen.scores.get("test", {})) if has_test else {},
    }
    result.test_effect = paired_test(reference, chosen, result.recipe)
    result.sentences.append(_closing(bench, result, has_test))
    bench.progress("note", text=result.sentences[-1])
    add_evidence(result, state.evidence)
    result.run = publish(chosen, state, result)
    state.spend(bench.budget)
    result.seconds, state.status = state.seconds, "done"
    state.facts = {
        k: v for k, v in result.to_json().items() if k not in ("seconds", "test_looks", "run")
    }
    state.save()
    bench.progress("end")
    return result


def _closing(bench: Bench, result: Improvement, has_test: bool) -> str:
    name = bench.metric
    if not has_test:
        return "There is no test part, so the final model has no score of its own."
    after = result.final["test"].get(name)
    if after is None:
        return f"The final model failed: {result.run.failure or 'it has no test score'}"
    if result.recipe == result.baseline_recipe:
        return f"Test {name} of the final model, which has the baseline's recipe: {after:.4g}."
    before = result.baseline["test"].get(name)
    if before is None:
        return f"Test {name}: {after:.4g}; the baseline has none, since it failed."
    effect = result.test_effect
    text = f"Test {name}: {before:.4g} before, {after:.4g} after"
    if effect["low"] is not None:
        text += f" (effect {effect['effect']:+.4g}, 95 % interval "
        text += f"{effect['low']:+.4g} to {effect['high']:+.4g})"
    looks = result.test_looks
    return f"{text}; looked at {'once' if looks == 1 else f'{looks} times'} in all."


def publish(chosen: Run, state: State, result: Improvement) -> Run:
    """Make the improvement's folder the run folder of its final model."""
    source, folder = chosen.folder, state.folder
    if source is not None:
        for name in KEPT:
            if (source / name).is_file():
                with store.replacing(folder / name) as temporary:
                    shutil.copyfile(source / name, temporary)
        if (source / "last").is_dir():
            shutil.copytree(source / "last", folder / "last", dirs_exist_ok=True)
    run = Run(**vars(chosen))
    run.folder = folder
    run.test_looks = state.test_looks
    run.evidence = [*chosen.evidence, *(row for rows in state.evidence.values() for row in rows)]
    run.scores = dict(chosen.scores)
    if result.final["validation"]:
        run.scores["validation"] = result.final["validation"]
    store.save_run(run, folder)
    # In memory only: on disk the trials stand in their own folders.
    run.trials = list(result.final_folds)
    return run

"""Baseline -> findings -> remedies -> trials -> verdicts -> adopt, until nothing helps; then the
proof.

The flow is a plain function of the trial folders: called again for the same folder it walks the
same way, finds the finished trials and goes on where it stopped.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fitwell import store
from fitwell.data.types import Data
from fitwell.errors import TrainingError
from fitwell.improve.controls import FINDING as CONTROL
from fitwell.improve.controls import judge_controls
from fitwell.improve.evidence import OF_DATA, gather
from fitwell.improve.final import epochs_found, finish
from fitwell.improve.opening import examples_of_fold, opened
from fitwell.improve.state import Improvement, State, open_state, read_improvement, rows_of_round
from fitwell.improve.variants import Proposal, proposals, variants_of
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Remedy, Run, Verdict, json_ready
from fitwell.remedies import with_remedies
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import Limit
from fitwell.trials.confirming import REPEATS
from fitwell.trials.crossval import Progress
from fitwell.trials.protocol import Screening, judge, screen
from fitwell.trials.reading import read_for
from fitwell.trials.reusing import Executor
from fitwell.trials.scoring import mean_scores
from fitwell.trials.trial import Task

MOST_REMEDIES = 8  # a round: the screen's cost, and more finalists there would not be
_SHARE = 0.1  # of what is left of the budget that a training for evidence alone may take
MOST_ROUNDS = 6  # the level of round 6 is 0.05 / 36: later ones could hardly confirm anything


def improve(
    data: Data,
    recipe: Recipe,
    *,
    out: Path,
    budget: Limit | float | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    controls: bool = False,
    more: bool = False,
) -> Improvement:
    """Find what holds the recipe back, prove what helps, and train the final model.

    Args:
        recipe: complete: the baseline.
        out: the run folder: new, or that of an improvement of the same recipe, which goes on; one
            that has ended is read.
        budget: with what earlier calls for this folder spent; a plain number is seconds, None no limit. The
            baseline and the final models are trained in any case.
        progress: called with an event and its facts, see `fitwell.report.progress`.
        executor: by default a LocalExecutor with a worker a core, closed at the end.
        controls: at the end put three arms on trial that were not chosen to help (`improve.controls`).
        more: go on with one that has ended, too: its budget has grown.

    Raises:
        SettingError: data.folds does not suit the data.
        FolderError: `out` holds something else.
        TrainingError: not one fold of the baseline could be trained.
        Interrupted: Ctrl-C; the same call goes on.
    """
    # Refused before anything is written, where data.folds does not suit the data.
    examples = examples_of_fold(data, recipe)
    state = open_state(Path(out), recipe)
    if state.finished and not more:
        return read_improvement(state.folder)
    with opened(data, recipe, state, examples, budget, progress, executor) as bench:
        return _Improving(bench, state, controls=controls).run()


class _Improving:
    """One improvement under way. The methods are the steps, in the order they are taken."""

    def __init__(self, bench: Bench, state: State, *, controls: bool = False) -> None:
        self.bench, self.state, self.controls = bench, state, controls
        self.first = Variant("baseline", state.recipe)
        self.diagnoses: list[Diagnosis] = []
        self.verdicts: list[Verdict] = []
        self.sentences: list[str] = []
        self.baselines = [state.recipe]  # of all rounds
        self.tried: set[Recipe] = set()

    def run(self) -> Improvement:
        bench = self.bench
        current = self.first
        repeat = 0  # whose trials the round's baseline has; fresh repeats are counted on from here
        fresh = 1
        carried: list[Proposal] = []  # helped in an earlier round beside the one that was adopted
        baseline_folds = self.train_baseline()
        runs = baseline_folds
        for number in range(1, MOST_ROUNDS + 1):
            diagnosis = self.diagnose(current, runs, repeat, number)
            variants = self.propose(diagnosis, carried, current, number)
            if not variants:
                break
            self.plan_ending(current, fresh, baseline_folds)
            screening = screen(bench, current, variants, repeat=repeat, round_number=number)
            self.say_untried(screening, number)
            if not screening.runs:
                break
            verdicts = judge(bench, current, screening, first_repeat=fresh, round_number=number)
            self.record(verdicts)
            helping = sorted(
                (v for v in verdicts if v.decision == "helps"), key=lambda v: -v.effect
            )
            if not helping:
                self.say_nothing_helps(verdicts, number)
                break
            # The best is adopted; its first confirm repeat is the next round's screen: those trials
            # were not what it was selected by alone, as those of its own screen were.
            best = (helping[0].remedy, dict(helping[0].settings))
            adopted = next(v for v in variants if (v.remedy, dict(v.settings)) == best)
            current = replace(adopted, title="the recipe so far")
            rivals = [v for v in helping[1:] if sets_otherwise(v, helping[0])]
            carried = [
                (Remedy(v.remedy, v.settings, why="helped in the round before"), v.finding)
                for v in helping[1:]
                if v not in rivals
            ]
            self.adopted(helping[0], carried, rivals, number)
            self.baselines.append(current.recipe)
            repeat, fresh = fresh, fresh + REPEATS
            runs = bench.run(self.folds(current, repeat))
            self.report_best(runs)
        else:
            self.say(f"Stopped after {MOST_ROUNDS} rounds, the most there are.")
        controls = self.judge_controls() if self.controls else []
        final_folds = baseline_folds
        if current != self.first:
            # Not on the screen's folds, by which the recipe was chosen among all: those flatter it.
            baseline_folds = bench.run(self.folds(self.first, repeat))
            final_folds = bench.run(self.folds(current, repeat))
        return finish(
            bench,
            self.state,
            Improvement(
                run=Run(),
                recipe=current.recipe,
                baseline_recipe=self.first.recipe,
                diagnosis=self.diagnoses,
                verdicts=self.verdicts,
                controls=controls,
                baseline_folds=baseline_folds,
                final_folds=final_folds,
                sentences=self.sentences,
                folder=self.state.folder,
            ),
            current,
            self.first,
        )

    def folds(self, variant: Variant, repeat: int) -> list[Task]:
        return [self.bench.task(variant, repeat, fold) for fold in range(self.bench.folds)]

    def train_baseline(self) -> list[Run]:
        """K folds of the recipe as it came."""
        bench = self.bench
        tasks = self.folds(self.first, 0)
        bench.phase("baseline", tasks)
        runs = bench.run(tasks)
        bench.settle_precision(runs)
        scores = mean_scores(runs)
        failed = [r for r in runs if r.status != "done"]
        if failed and all(r.steps == [] for r in failed) and len(failed) == len(runs):
            # Nothing was ever trained: no remedy of ours is for that.
            raise TrainingError(f"The baseline cannot be trained. {failed[0].failure}")
        if bench.metric in scores:
            self.report_best(runs)
            self.say(
                f"Baseline: {bench.metric} {scores[bench.metric]:.4g}, mean of "
                f"{len(runs) - len(failed)} folds."
            )
        if failed:
            self.say(
                f"{len(failed)} of {len(runs)} folds of the baseline failed and count as the "
                f"trivial prediction: {failed[0].failure}"
            )
        return runs

    def report_best(self, runs: Sequence[Run]) -> None:
        name = self.bench.metric
        self.bench.progress("best", metric=name, score=mean_scores(runs).get(name))

    def diagnose(
        self, current: Variant, runs: Sequence[Run], repeat: int, number: int
    ) -> Diagnosis:
        """Findings of the round's baseline, with the evidence that experiments add."""
        from fitwell.findings import diagnose

        bench, key = self.bench, str(number)
        if key not in self.state.evidence:
            bench.progress("phase", name="evidence", total=0)
            self.state.evidence[key] = json_ready(
                gather(
                    read_for(bench.data, current.recipe),
                    current.recipe,
                    runs,
                    repeat=repeat,
                    seed=bench.seed(repeat),
                    have=() if number == 1 else OF_DATA,
                    threads=getattr(bench.executor, "threads", 1),
                    seconds=_SHARE * bench.budget.seconds_left,
                )
            )
            self.state.save()
        rows = rows_of_round(self.state.evidence, number)
        told = [replace(runs[0], evidence=[*runs[0].evidence, *rows]), *runs[1:]]
        diagnosis = with_remedies(diagnose(told), runs[0].recipe, runs[0].spec)
        self.diagnoses.append(diagnosis)
        documents = [d.to_json() for d in self.diagnoses]
        store.write_json(
            self.state.folder / "findings.json",
            {**documents[0], "rounds": documents},
        )
        names = ", ".join(f"{f.name} ({f.confidence})" for f in diagnosis.findings)
        self.say(f"Round {number}: " + (f"findings: {names}." if names else "nothing wrong found."))
        return diagnosis

    def propose(
        self, diagnosis: Diagnosis, carried: Sequence[Proposal], current: Variant, number: int
    ) -> list[Variant]:
        spec = self.bench.data.spec
        proposed = [*carried, *proposals(diagnosis, current.recipe, spec)]
        variants, refused = variants_of(
            proposed,
            current.recipe,
            spec,
            round_number=number,
            known_recipes=set(self.baselines),
        )
        for sentence in refused:
            self.say(sentence)
        if left := variants[MOST_REMEDIES:]:
            names = "; ".join(v.remedy for v in left)
            self.say(f"Round {number}: the {MOST_REMEDIES} most promising are tried, not: {names}.")
        variants = variants[:MOST_REMEDIES]
        self.tried |= {variant.recipe for variant in variants}
        if not variants:
            self.say("No remedy that could be put on trial: the recipe stays as it is.")
        return variants

    def judge_controls(self) -> list[Verdict]:
        """What the proof says of arms that were not chosen to help; it changes nothing."""
        evidence = rows_of_round(self.state.evidence, 1)
        verdicts = judge_controls(self.bench, self.first, evidence=evidence, tried=self.tried)
        if not verdicts:
            self.say("The budget does not reach for the controls.")
        for verdict in verdicts:
            self.say(sentence_of(verdict))
        return verdicts

    def plan_ending(self, current: Variant, repeat: int, baseline_folds: Sequence[Run]) -> None:
        """Tell the budget what follows the last verdict: the baseline's final model, and its folds
        on the partition that the adopted recipe is shown on, where they are no part of the stage."""
        epochs = epochs_found(baseline_folds)
        final = Task(self.first.recipe, kind="final", variant="reserve", epochs=epochs)
        folds = [] if current == self.first else self.folds(self.first, repeat)
        self.bench.budget.closing = [*folds, final]
        self.bench.budget.origin = current.recipe

    def say_untried(self, screening: Screening, number: int) -> None:
        if screening.untried:
            names = ", ".join(v.remedy for v in screening.untried)
            self.say(f"Round {number}: the budget does not reach for a trial of {names}.")

    def record(self, verdicts: Sequence[Verdict]) -> None:
        self.verdicts += verdicts
        document = [v.to_json() for v in self.verdicts]
        store.write_json(self.state.folder / "verdicts.json", document)
        for verdict in verdicts:
            self.say(sentence_of(verdict))
            self.bench.progress("verdict", verdict=verdict)
        self.state.spend(self.bench.budget)

    def adopted(
        self,
        verdict: Verdict,
        carried: Sequence[Proposal],
        rivals: Sequence[Verdict],
        number: int,
    ) -> None:
        text = f"Round {number}: {verdict.remedy} is adopted"
        if carried:
            also = ", ".join(remedy.name for remedy, _ in carried)
            text += f"; {also} helps too and is tried on top of it"
        if rivals:
            less = ", ".join(rival.remedy for rival in rivals)
            text += f"; {less} helps too, but less, and sets otherwise what this sets"
        self.say(text + ".")

    def say_nothing_helps(self, verdicts: Sequence[Verdict], number: int) -> None:
        if any(v.decision == "unconfirmed" for v in verdicts):
            self.say(f"Round {number}: the budget ended before the remedies could be confirmed.")
        else:
            self.say(f"Round {number}: nothing helps; the recipe stays as it is.")

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)
        self.bench.progress("note", text=sentence)


def sets_otherwise(verdict: Verdict, adopted: Verdict) -> bool:
    """Whether an edit would undo a part of what was adopted: then it cannot be tried on top of it."""
    shared = verdict.settings.keys() & adopted.settings.keys()
    return any(verdict.settings[key] != adopted.settings[key] for key in shared)


def sentence_of(verdict: Verdict) -> str:
    """A verdict as one sentence of the decision log."""
    effect = "no score" if verdict.effect != verdict.effect else _signed(verdict.effect)
    name = f"Round {verdict.round}, {verdict.remedy}"
    if verdict.finding == CONTROL:  # of no round
        name = f"{verdict.remedy[:1].upper()}{verdict.remedy[1:]}"
    text = f"{name}: {verdict.decision} ({verdict.metric} {effect}"
    if verdict.low is not None and verdict.high is not None and verdict.level is not None:
        sure = 100 * (1 - verdict.level)
        text += f", {sure:.4g} % interval {_signed(verdict.low)} to {_signed(verdict.high)}"
    text += f", {verdict.trials} pairs, {verdict.stage})."
    return f"{text} {verdict.why}".strip()


def _signed(value: float) -> str:
    """Four places for shares, four digits for larger numbers: never +1.911e-06."""
    return f"{value:+.4f}" if abs(value) < 10 else f"{value:+.4g}"

"""The study: which point is tried next, what became of each, and when one is given up. All of Optuna that a
search needs passes through here.

A point is a recipe. Points that give the same recipe are one trial: none is trained or counted twice.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fitwell.errors import SettingError
from fitwell.record import json_ready
from fitwell.search.asking import FIRST_FOLDS, grid, pruner_of, sampler_of
from fitwell.search.rows import Row
from fitwell.search.space import Dimension, recipe_settings, size
from fitwell.search.storage import Place, Pulse, asking, connect

REPEATS_IN_A_ROW = 50  # points known already, after which the sampler has no new ones to offer
ABOUT = "fitwell"  # attribute of the study: what its scores belong to


@dataclass
class Asked:
    """A trial under way: its settings, and the scores of its folds so far."""

    number: int
    trial: Any
    settings: dict[str, Any]
    scores: list[float] = field(default_factory=list)


class Study:
    """The study of one search; a context manager while trials are under way.

    Args:
        owner: the run folder's own mark: only its trials are taken up again by it.
        about: what scores can be compared by: data, recipe, space, pruner.
        greater_is_better: of the score.
    """

    def __init__(
        self,
        place: Place,
        name: str,
        space: Sequence[Dimension],
        *,
        sampler: str,
        pruner: str,
        folds: int,
        seed: int,
        owner: str,
        about: Mapping[str, Any],
        greater_is_better: bool,
    ) -> None:
        import optuna

        self.place, self.space, self.sampler, self.folds = place, space, sampler, folds
        self.seed, self.owner, self.greater_is_better = seed, owner, greater_is_better
        self.pruner = pruner
        self.distributions = {d.name: d.distribution() for d in space}
        storage = connect(place)
        with asking(place):
            self.study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction="maximize" if greater_is_better else "minimize",
                pruner=pruner_of(pruner),
                load_if_exists=True,
            )
            self._agree(name, json.loads(json.dumps(json_ready(about))))
        self.pulse = Pulse(storage, place.shared)

    def __enter__(self) -> "Study":
        self.pulse.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.pulse.__exit__()

    def _agree(self, name: str, about: Mapping[str, Any]) -> None:
        """Refuse a study whose scores are of something else."""
        known = self.study.user_attrs.get(ABOUT)
        if known is None:
            self.study.set_user_attr(ABOUT, dict(about))
            return
        for key, value in about.items():
            if known.get(key) != value:
                other = _differing(key, value, known)
                raise SettingError(
                    f"study = {name}: {self.place.name} has it for another {other}. Their scores "
                    "cannot be compared. Name another study, or give the same settings.",
                    setting="study",
                )

    def under_way(self) -> list[Asked]:
        """The trials of this run folder that an interruption left in the middle."""
        import optuna

        with asking(self.place):
            trials = self._trials((optuna.trial.TrialState.RUNNING,))
            if self.place.shared:
                trials = [t for t in trials if t.user_attrs.get("owner") == self.owner]
            return [self._asked(optuna.Trial(self.study, t._trial_id)) for t in trials]

    def ask(self, known: Sequence[Mapping[str, Any]] = ()) -> Asked | None:
        """The next point that is new; None where there are no more.

        Args:
            known: settings that are under way here.
        """
        import optuna

        for _ in range(REPEATS_IN_A_ROW):
            with asking(self.place):
                if self.place.shared:
                    optuna.storages.fail_stale_trials(self.study)
                trials = self.study.get_trials(deepcopy=False)
                # Also what others have under way, which would be trained twice and counted once.
                tried = {
                    _key(self._settings(t))
                    for t in trials
                    if _counts(t) or (t.state.name == "RUNNING" and self._whole(t))
                }
                if len(tried) >= size(self.space):
                    return None
                if self.sampler == "grid" and not self._queue_level(trials):
                    return None
                salt = (
                    [int(self.owner, 16)] if self.place.shared else []
                )  # no two workers ask alike
                self.study.sampler = sampler_of(self.sampler, [self.seed, len(trials), *salt])
                asked = self._asked(self.study.ask())
                if _key(asked.settings) not in tried | {_key(settings) for settings in known}:
                    return asked
                # Known already: it is no trial, and what it scored stands under the first of its kind.
                self.pulse.alive.discard(asked.trial._trial_id)
                self.study.tell(asked.trial, state=optuna.trial.TrialState.FAIL)
        return None

    def offer(self, settings: Mapping[str, Any], scores: Sequence[float]) -> None:
        """Enter the recipe that the search started from, where it lies in the space."""
        import optuna

        if not all(d.name in settings and d.contains(settings[d.name]) for d in self.space):
            return
        with asking(self.place):
            if any(t.user_attrs.get("start") for t in self.study.get_trials(deepcopy=False)):
                return
            values = self._reported(list(scores))
            self.study.add_trial(
                optuna.create_trial(
                    params={d.name: d.label(settings[d.name]) for d in self.space},
                    distributions=self.distributions,
                    value=float(np.mean(scores)),
                    intermediate_values=dict(enumerate(values)),
                    user_attrs={"start": True, "scores": list(scores)},
                )
            )

    def score(self, asked: Asked, fold: int, score: float) -> bool:
        """Note the score of a fold; whether the trial is given up."""
        from optuna.exceptions import UpdateFinishedTrialError

        asked.scores.append(score)
        last = len(asked.scores) >= self.folds
        early = len(asked.scores) < FIRST_FOLDS.get(self.pruner, self.folds)
        try:
            with asking(self.place):
                asked.trial.report(self._reported(asked.scores)[-1], fold)
                return not (last or early) and bool(asked.trial.should_prune())
        except UpdateFinishedTrialError:
            return True  # this worker was taken for dead, and another has the trial now

    def end(self, asked: Asked, state: str, failure: str = "") -> None:
        """The last word on a trial. One that others took over meanwhile is theirs, and not counted here."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        self.pulse.alive.discard(asked.trial._trial_id)
        try:
            with asking(self.place):
                asked.trial.set_user_attr("scores", asked.scores)
                if failure:
                    asked.trial.set_user_attr("failure", failure)
                if state == "done":
                    self.study.tell(asked.trial, float(np.mean(asked.scores)))
                else:
                    # A trial that failed is "pruned" for Optuna: of FAIL its samplers learn nothing, and
                    # would go on asking for rates that diverge.
                    self.study.tell(asked.trial, state=TrialState.PRUNED)
        except (ValueError, UpdateFinishedTrialError):
            if not self.place.shared:
                raise

    def rows(self) -> list[Row]:
        """Every trial that has ended, each point once, in the order they were asked for."""
        with asking(self.place):
            trials = self.study.get_trials(deepcopy=False)
        rows: dict[str, Row] = {}
        for trial in trials:
            if _counts(trial):
                row = self._row(trial)
                rows.setdefault(_key(row.settings), row)
        return list(rows.values())

    def best_of(self, rows: Sequence[Row]) -> Row | None:
        """The best of the trials that ran on all folds; the earlier one of two that are equal."""
        whole = [row for row in rows if row.state == "done"]
        sign = 1 if self.greater_is_better else -1
        return max(whole, key=lambda row: sign * (row.score or 0.0), default=None)

    def _row(self, trial: Any) -> Row:
        scores = tuple(trial.user_attrs.get("scores", ()))
        failure = str(trial.user_attrs.get("failure", ""))
        ended = "done" if trial.state.name == "COMPLETE" else "stopped early"
        return Row(
            trial.number,
            self._settings(trial),
            float(np.mean(scores)) if scores else None,
            scores,
            "failed" if failure else ended,
            failure,
            bool(trial.user_attrs.get("start")),
        )

    def _asked(self, trial: Any) -> Asked:
        self.pulse.add(trial._trial_id)
        if self.place.shared:
            trial.set_user_attr("owner", self.owner)
        for dimension in self.space:
            dimension.suggest(trial)
        settings = recipe_settings(self.space, trial.params)
        return Asked(trial.number, trial, settings)

    def _reported(self, scores: Sequence[float]) -> list[float]:
        """What the pruner compares at each fold.

        Wilcoxon pairs the folds. The median compares what each trial had come to by then: its mean over
        the same folds, since one fold alone says more of the fold than of the trial.
        """
        if self.pruner != "median":
            return list(scores)
        return [float(np.mean(scores[: i + 1])) for i in range(len(scores))]

    def _trials(self, states: tuple[Any, ...]) -> list[Any]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _settings(self, trial: Any) -> dict[str, Any]:
        return recipe_settings(self.space, trial.params)

    def _whole(self, trial: Any) -> bool:
        """Whether each of its settings has been sampled."""
        return all(d.name in trial.params for d in self.space)

    def _queue_level(self, trials: Sequence[Any]) -> bool:
        """Queue the next point of the grid that nobody has; whether there was one."""
        if any(t.state.name == "WAITING" for t in trials):
            return True  # a trial whose worker died
        taken = {_key(t.params) for t in trials if t.state.name != "FAIL" and t.params}
        taken |= {
            _key(t.system_attrs["fixed_params"]) for t in trials if "fixed_params" in t.system_attrs
        }
        point = next((p for p in grid(self.space, self.seed) if _key(p) not in taken), None)
        if point is not None:
            self.study.enqueue_trial(point)
        return point is not None


def _counts(trial: Any) -> bool:
    """Whether it is a trial that has ended: no copy of another, and none whose worker died."""
    return trial.state.name in ("COMPLETE", "PRUNED")


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True)


def _differing(key: str, value: Any, known: Mapping[str, Any]) -> str:
    """`recipe (optim.lr is 0.1 there and 0.3 here)`, or the key alone."""
    before = known.get(key)
    if isinstance(value, Mapping) and isinstance(before, Mapping):
        for name in dict.fromkeys([*value, *before]):
            if value.get(name) != before.get(name):
                return f"{key} ({name} is {before.get(name)} there and {value.get(name)} here)"
    return key

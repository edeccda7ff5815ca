"""Numbers and names in plain words, the same in the terminal and in the HTML file."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fitwell.metrics import METRICS
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Remedy, Scores, Verdict

METRIC_WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "rmse": "error (rmse)",
    "mae": "error (mae)",
    "mse": "squared error (mse)",
    "r2": "explained variance (r2)",
    "average_precision": "average precision",
    "f1": "F1",
    "map50": "mAP50",
    "map": "mAP50-95",
    "loss": "loss",
}

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def cut(text: str, width: int, *, end: bool = False) -> str:
    """The text, or as much of its beginning (or its end) as there is room for.

    >>> cut("BatchNorm2d", 8), cut("encoder.norm", 8, end=True)
    ('BatchNo…', '…er.norm')
    """
    if len(text) <= width:
        return text
    return "…" + text[len(text) - width + 1 :] if end else text[: width - 1] + "…"


def number(value: float | int | None, *, signed: bool = False) -> str:
    """A score or another number at three decimals, or four digits where it is large; without all its
    digits from ten millions on.

    >>> number(0.96666), number(0.0123, signed=True), number(54321.7), number(None)
    ('0.967', '+0.012', '54,322', '–')
    >>> number(0.00012), number(-0.0001, signed=True), number(12.345)
    ('0.00012', '-0.0001', '12.35')
    >>> number(2487645123.3), number(1_234_567.8)
    ('2.49e+09', '1,234,568')
    >>> number(-1e-17, signed=True)  # a difference that is zero but for rounding
    '+0.000'
    """
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return f"{value:+,}" if signed else f"{value:,}"
    sign = "+" if signed else ""
    size = abs(value)
    if signed and size < 0.00005:
        return "+0.000"
    if size >= 1e7:
        return f"{value:{sign}.3g}"
    if size >= 1000:
        return f"{value:{sign},.0f}"
    if size >= 10:
        return f"{value:{sign}.2f}"
    if 0 < size < 0.001:
        return f"{value:+.4f}" if signed else f"{value:.2g}"
    return f"{value:{sign}.3f}"


def nothing_found(diagnosis: Diagnosis) -> str:
    """What a diagnosis without findings says, and how much it says it of.

    >>> nothing_found(Diagnosis(rules=9))
    'Nothing wrong was found.'
    """
    rules, missing = diagnosis.rules, len(diagnosis.not_assessed)
    if diagnosis.nothing_assessed:
        return "Nothing could be assessed: the rows that it needs are missing."
    if missing:
        return f"Nothing wrong was found in what could be assessed ({rules - missing} of {rules})."
    return "Nothing wrong was found."


def interval(low: float | None, high: float | None) -> str:
    """An interval of an effect.

    >>> interval(0.0112, 0.034), interval(None, None)
    ('[+0.011, +0.034]', '')
    """
    if low is None or high is None:
        return ""
    return f"[{number(low, signed=True)}, {number(high, signed=True)}]"


def chance(p: float | None) -> str:
    """A p-value; the smallest are only bounded: the tails of a test are no better known.

    >>> chance(0.601), chance(5e-29), chance(None)
    ('0.601', '< 0.0001', '')
    """
    if p is None:
        return ""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def setting(value: Any) -> str:
    """The value of a setting as a person would type it.

    >>> setting(0.1), setting(True), setting(""), setting([1.0, 2.0]), setting(None)
    ('0.1', 'true', '(empty)', '[1.0, 2.0]', '(not set)')
    """
    if value is None:
        return "(not set)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "(empty)"


def evidence(value: Any) -> str:
    """One number of evidence; lists are shortened to their first few.

    >>> evidence([0.1, 0.25, 0.5]), evidence("conv1"), evidence(True), evidence({"low": 1.5})
    ('0.100, 0.250, 0.500', 'conv1', 'yes', 'low 1.500')
    >>> evidence(40.0)  # a mean of whole numbers that is one itself
    '40'
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return number(int(value))
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{words(str(k))} {evidence(v)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = ", ".join(evidence(v) for v in value[:6])
        return shown if len(value) <= 6 else f"{shown} and {len(value) - 6} more"
    return "–" if value is None else str(value)


def words(name: str) -> str:
    """A snake_case name as words.

    >>> words("stopped_too_early")
    'stopped too early'
    """
    return name.replace("_", " ")


def title(name: str) -> str:
    """The same with a capital, for a heading.

    >>> title("dying_relu"), title("lr_too_low")
    ('Dying ReLU', 'Learning rate too low')
    """
    text = words(name).replace("relu", "ReLU").replace("lr ", "learning rate ")
    return text[:1].upper() + text[1:]


def metric_word(name: str) -> str:
    return METRIC_WORDS.get(name, words(name))


def capital(text: str) -> str:
    """Text as it begins a sentence; a word that has capitals of its own is left alone.

    >>> capital("error (rmse)"), capital("mAP50 by epoch")
    ('Error (rmse)', 'mAP50 by epoch')
    """
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first == first.lower() else text


def duration(seconds: float | None) -> str:
    """Time in at most two units.

    >>> duration(3.21), duration(75), duration(4000), duration(None)
    ('3.2 s', '1 min 15 s', '1 h 6 min', '–')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def times(count: int) -> str:
    """How often.

    >>> times(1), times(2), times(12)
    ('once', 'twice', '12 times')
    """
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def looked(count: int) -> str:
    """The sentence that every report of a test score carries.

    >>> looked(1), looked(0)
    ('Test looked at 1 time.', 'Test not looked at.')
    """
    if not count:
        return "Test not looked at."
    return f"Test looked at {count} time{'' if count == 1 else 's'}."


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "remedy"), plural(3, "remedy"), plural(0, "trial"), plural(12, "class")
    ('one remedy', 'three remedies', 'no trials', '12 classes')
    """
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}{'es' if noun[-1] in 'sx' else 's'}"
    word = NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else f"{count:,}"
    return f"{word} {noun if count == 1 else many}"


def listed(items: Sequence[str]) -> str:
    """Items as in a sentence.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def higher_is_better(metric: str) -> bool:
    return METRICS[metric].higher_is_better if metric in METRICS else metric != "loss"


def score_name(scores: Mapping[str, Scores], recipe: Recipe | None = None) -> str:
    """The metric that is judged by: the recipe's, or the first of the scores that is no loss."""
    named = str(recipe.get("score.name", "")) if recipe is not None else ""
    present = [name for part in scores.values() for name in (part or {})]
    if named and (named in present or not present):
        return named
    return next((name for name in present if name != "loss"), named or "loss")


def in_order(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Round by round, the confirmed first, then the best effect first; failures last."""

    def place(row: Verdict) -> tuple[int, bool, float]:
        size = -row.effect if math.isfinite(row.effect) else math.inf
        return row.round, row.stage == "screen", size

    return sorted(verdicts, key=place)


def equivalence(row: Verdict) -> str:
    """How probable worse, equal and better are, as a sentence; empty where that is not known."""
    odds = row.equivalence
    if not odds:
        return ""
    shares = ", ".join(f"{name} {percent(odds[name])}" for name in ("worse", "equal", "better"))
    return f"Where {number(odds['region'])} and less counts as equal: {shares}."


def percent(share: float) -> str:
    """
    >>> percent(0.4), percent(0.0004), percent(0.9996)
    ('40 %', 'below 1 %', 'above 99 %')
    """
    if share < 0.01:
        return "below 1 %"
    return "above 99 %" if share > 0.99 else f"{share:.0%}".replace("%", " %")


def edits(remedy: Remedy | Verdict) -> str:
    """What a remedy sets, on one line; empty where its name says so already.

    >>> edits(Remedy("relu", {"model.activation": "relu"}))
    'model.activation = relu'
    >>> edits(Remedy("optim.lr: 0.5 -> 0.17", {"optim.lr": 0.17}))
    ''
    """
    name = remedy.name if isinstance(remedy, Remedy) else remedy.remedy
    unsaid = {n: value for n, value in remedy.settings.items() if n not in name}
    return ", ".join(f"{n} = {setting(value)}" for n, value in unsaid.items())


def advised(remedy: Remedy) -> str:
    """A remedy in a list: its name, and what it sets or advises where the name does not say.

    >>> advised(Remedy("Look at the data.", {}, "Look at the data."))
    'Look at the data.'
    """
    more = edits(remedy) or ("" if remedy.settings else remedy.advice)
    return remedy.name if more in ("", remedy.name) else f"{remedy.name}: {more}"


def arrows(text: str) -> str:
    """Plain text with a real arrow, which no line breaks in two."""
    return text.replace(" -> ", " → ")


def short(remedy: str) -> str:
    """The name of a remedy for a narrow place: settings without their section.

    >>> short("model.name: lenet -> convnet, model.norm: none -> batch")
    'model: lenet → convnet, norm: none → batch'
    """
    named = re.sub(r"\b([a-z]+)\.name:", r"\1:", remedy)
    return arrows(re.sub(r"\b[a-z]+\.([a-z_0-9]+:)", r"\1", named))

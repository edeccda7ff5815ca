"""One column of a table: numbers, dates, categories, or an identifier. No torch."""

import re
from typing import Any

import numpy as np

from fitwell.data.dates import read_dates, read_dates_like
from fitwell.data.digits import as_few
from fitwell.data.types import Problem, brief, many, some
from fitwell.errors import SettingError
from fitwell.spec import Column

# Text that stands for a missing value, as pandas and UCI write it. "None" is left a category.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "?")
IDENTIFIER = re.compile(r"(.*[_\s])?(id|idx|index|uuid|guid|row|rownumber)|unnamed: \d+|", re.I)
MOST_CATEGORIES = 255
FEW_CATEGORIES = 20  # so many categories are categories however few the rows
IDENTIFIER_SHARE = 0.5  # more different texts than this share of the rows: names, not categories
# Columns are called so that say who or what a row is of; and what may follow the word.
GROUP_WORDS = set(
    "patient subject speaker participant person user customer client household session device animal "
    "player driver student family donor owner author writer rater visitor account machine sensor video "
    "clip recording".split()
)
ID_WORDS = set("id ids no nr num number code key name uuid guid hash idx index".split())
NUMBERED_SHARE = 0.9  # of the texts hold a digit: names that were given out
SIGNS_LOOKED_AT = 200  # texts of a column that are looked at for signs before all are
NUMBER_SHARE = 0.9  # at least this share of the texts are numbers: the rest are mistakes


def convert(
    series: Any, keys: list[str], decimal_comma: bool, order: str = "auto"
) -> tuple[Column, np.ndarray, list[Problem]] | str:
    """(column, [row] numbers, days since 2000 or category codes with nan where missing, problems), or why
    the column names its rows instead of describing them. Numbers are float32, or float64 of a fine column.

    Args:
        order: `data.dates`.
    """
    numbers, mistakes = as_numbers(series, decimal_comma)
    if numbers is None:
        dates = read_dates(dates_of(series), keys, order)
        if dates is None and order != "auto":
            _refuse_order(series, keys, order)
        if dates is not None:
            days, spellings, problems = dates
            days = as_few(days)
            fine = days.dtype == np.float64
            return Column(series.name, "date", spellings, fine), days, problems
    text: Any = None if numbers is not None else clean_text(series)
    if reason := _looks_like_identifier(series.name, numbers, text):
        return reason
    if numbers is not None:
        numbers = as_few(numbers)
        column = Column(series.name, fine=numbers.dtype == np.float64)
        return column, numbers, mistakes_of(series, mistakes, keys)
    categories = tuple(sorted(text.drop_nulls().unique().to_list()))
    return Column(series.name, "category", categories), _codes(text, categories), []


def _refuse_order(series: Any, keys: list[str], order: str) -> None:
    """Refuse `data.dates` where these are dates, but not in that order.

    Raises:
        SettingError: they are.
    """
    other = "day_first" if order == "month_first" else "month_first"
    if read_dates(dates_of(series), keys, other) is not None:
        raise SettingError(
            f"data.dates = {order}: {series.name} holds dates such as "
            f"{clean_text(series).drop_nulls()[0]}, most of which are none with the "
            f"{order[: order.index('_')]} first. Set data.dates={other}, or leave it out.",
            setting="data.dates",
        )


def convert_like(
    series: Any, column: Column, keys: list[str], decimal_comma: bool
) -> tuple[np.ndarray, list[Problem]]:
    """[row] numbers of a column that a model knows; what it does not know counts as missing."""
    if column.kind == "numeric":
        numbers, mistakes = as_numbers(series, decimal_comma, force=True)
        assert numbers is not None
        return numbers, mistakes_of(series, mistakes, keys)
    if column.kind == "date":
        dates = dates_of(series)
        days = read_dates_like(dates, column.categories)
        return days, mistakes_of(
            series, np.isnan(days) & ~dates.is_null().to_numpy(), keys, "dates"
        )
    text = clean_text(series)
    codes = _codes(text, column.categories)
    unknown = np.isnan(codes) & ~text.is_null().to_numpy()
    if not unknown.any():
        return codes, []
    found = sorted(set(text.filter(unknown).to_list()))
    rows = tuple(k for k, u in zip(keys, unknown, strict=True) if u)
    shown = some(map(brief, found))
    said = f"{column.name}: {many(len(rows), 'row')} with unknown categories: {shown}."
    return codes, [
        Problem(
            "unknown_category", "warning", rows, said, "They count as missing; train with them."
        )
    ]


def as_numbers(
    series: Any, decimal_comma: bool, *, force: bool = False
) -> tuple[np.ndarray | None, np.ndarray]:
    """([row] float64 with nan where missing, or None for text; [row] bool: text among numbers)."""
    import polars as pl

    none = np.zeros(len(series), bool)
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series.cast(pl.Float64).to_numpy().astype(np.float64), none
    if series.dtype.is_temporal():
        return (series.dt.epoch("s").cast(pl.Float64).to_numpy() if force else None), none
    text = clean_text(series)
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() > text.null_count():
        text = without_signs(text, decimal_comma)
        numbers = text.cast(pl.Float64, strict=False)
    if decimal_comma and numbers.null_count() > text.null_count():
        numbers = text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    mistakes = (numbers.is_null() & ~text.is_null()).to_numpy()
    known = len(text) - text.null_count()
    wrong = int(mistakes.sum())
    if wrong and not force:
        few = wrong <= (1 - NUMBER_SHARE) * known
        if not few or numbers.n_unique() <= FEW_CATEGORIES:
            return None, none
    return numbers.to_numpy().astype(np.float64), mistakes


def without_signs(text: Any, decimal_comma: bool) -> Any:
    """Texts such as $1,037.50 or 12 % without sign of currency or per cent and without commas between
    thousands (1.037,50 without dots), where at least most of a column are numbers then; per cent only
    where all of them say so.

    >>> import polars as pl
    >>> without_signs(pl.Series(["1,037", "$3", "2.5"]), False).to_list()
    ['1037', '3', '2.5']
    >>> without_signs(pl.Series(["12%", "0.5"]), False).to_list()
    ['12%', '0.5']
    >>> without_signs(pl.Series(["1.037,50", "2.000"]), True).to_list()
    ['1037.50', '2000']
    """
    known = text.drop_nulls()
    if not _signed(known.head(SIGNS_LOOKED_AT), decimal_comma)[1]:
        return text  # of words: a long column is not searched
    percents = int(known.str.contains(r"%\s*$").sum())
    if percents not in (0, len(known)):
        return text
    signed, mostly = _signed(text, decimal_comma)
    return signed if mostly else text


def _signed(text: Any, decimal_comma: bool) -> tuple[Any, bool]:
    """(texts without signs, whether most of those that are there are numbers then)."""
    import polars as pl

    signed = text.str.replace(r"^([+-]?)\s*[$€£¥]\s*", "${1}").str.replace(r"\s*[%€£¥]\s*$", "")
    if decimal_comma:
        signed = _without_dots(signed).str.replace(",", ".", literal=True)
    else:
        thousands = signed.str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$").fill_null(False)
        signed = signed.zip_with(~thousands, signed.str.replace_all(",", ""))
    known = len(text) - text.null_count()
    read = len(text) - signed.cast(pl.Float64, strict=False).null_count()
    return signed, known > 0 and read >= NUMBER_SHARE * known


def _without_dots(text: Any) -> Any:
    """Texts without dots between thousands, where a decimal comma or a second dot in one of the texts says
    that these are none of decimals, and no text holds one of decimals."""
    thousands = text.str.contains(r"^[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?$").fill_null(False)
    surely = text.str.contains(r"^[+-]?\d[\d.]*,\d+$|^[+-]?\d{1,3}(\.\d{3}){2,}$").any()
    decimal = text.str.contains(r"^[+-]?\d*\.\d*$").fill_null(False) & ~thousands
    if not surely or decimal.any():
        return text
    return text.zip_with(~thousands, text.str.replace_all(".", "", literal=True))


def as_times(series: Any, keys: list[str], decimal_comma: bool, order: str) -> np.ndarray | None:
    """[row] float64 numbers or days since 2000, nan where missing or wrong; None for any other text."""
    numbers, _ = as_numbers(series, decimal_comma)
    if numbers is not None:
        return numbers
    dates = read_dates(dates_of(series), keys, order)
    return None if dates is None else dates[0]


def clean_text(series: Any) -> Any:
    """The column as text without surrounding blanks, missing where it says so."""
    import polars as pl

    text = series.cast(pl.String).str.strip_chars()
    return text.set(text.is_in(MISSING), None)


def _looks_like_identifier(name: str, numbers: np.ndarray | None, text: Any) -> str:
    """Why the column names its rows instead of describing them; empty if it does not.

    Whole numbers under such a name and all different; or text with too many different values.
    """
    if numbers is not None:
        if IDENTIFIER.fullmatch(name.strip()) is None:
            return ""
        known = numbers[np.isfinite(numbers)]
        whole = len(known) == len(numbers) > 1 and bool((known == np.round(known)).all())
        return "all different" if whole and len(np.unique(known)) == len(known) else ""
    distinct = text.drop_nulls().n_unique()
    too_many = distinct > FEW_CATEGORIES and distinct > IDENTIFIER_SHARE * len(text)
    return f"{distinct} different texts" if too_many or distinct > MOST_CATEGORIES else ""


def looks_like_identifier(series: Any, decimal_comma: bool) -> str:
    """Why the column names its rows instead of describing them; empty if it does not."""
    numbers, _ = as_numbers(series, decimal_comma)
    text = None if numbers is not None else clean_text(series)
    return _looks_like_identifier(series.name, numbers, text)


def aside(series: Any, decimal_comma: bool = False) -> np.ndarray | None:
    """A column that is no input, for the search for groups: [row] float64 numbers, or float32 codes of
    text that is numbered, such as p-17, or stands under the name of groups; nan where missing.

    None where it repeats less than twice on average, or is of no such kind.
    """
    import polars as pl

    if series.dtype.is_nested() or series.dtype == pl.Binary:
        return None
    numbers, _ = as_numbers(series, decimal_comma)
    if numbers is not None:
        return numbers
    text = clean_text(series)
    known = text.drop_nulls()
    values = known.unique()
    if not len(known) or 2 * len(values) > len(known):
        return None
    numbered = values.str.contains(r"\d").sum() >= NUMBERED_SHARE * len(values)
    if not numbered and not is_group_name(series.name):
        return None
    return text.cast(pl.Categorical).to_physical().cast(pl.Float32).to_numpy().astype(np.float32)


def is_group_name(name: str) -> bool:
    """Whether a column is called as groups are.

    >>> [is_group_name(name) for name in ("patient", "Patient ID", "speakerId", "households", "user_age")]
    [True, True, True, False, False]
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    words = [word.lower() for word in words]
    while len(words) > 1 and words[-1] in ID_WORDS:
        words.pop()
    return bool(words) and words[-1] in GROUP_WORDS


def _codes(text: Any, categories: tuple[str, ...]) -> np.ndarray:
    """[row] float32 place of each text among the categories; nan where it is missing or none of them."""
    import polars as pl

    codes = text.cast(pl.Enum(categories), strict=False).to_physical()
    return codes.cast(pl.Float32).to_numpy().astype(np.float32)


def dates_of(series: Any) -> Any:
    """Dates as they are, anything else as text."""
    return series if series.dtype.is_temporal() else clean_text(series)


def mistakes_of(
    series: Any, mistakes: np.ndarray, keys: list[str], what: str = "numbers"
) -> list[Problem]:
    if not mistakes.any():
        return []
    rows = tuple(k for k, m in zip(keys, mistakes, strict=True) if m)
    found = sorted(set(clean_text(series).filter(mistakes).to_list()))
    shown = some(map(brief, found))
    said = f"{series.name}: {len(rows)} of {len(series)} cells are not {what} ({shown})."
    return [
        Problem(f"not_a_{what[:-1]}", "warning", rows, said, "They count as missing; correct them.")
    ]

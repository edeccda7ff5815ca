"""Labels in the names of files, as in 7_jackson_32.wav: read by a pattern, which is proposed where names
plainly follow one. No torch.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fitwell.data.files import Item, files_below, key_of
from fitwell.data.names import PARTS
from fitwell.data.types import BadData, Problem, many, refuse, some
from fitwell.errors import SettingError
from fitwell.settings import is_number

LABEL, GROUP = "label", "group"
SEPARATORS = "_- ."
LEAST_FILES = 4
FEW = 0.1  # of the files may fit in more than one way and be left out: more are no slips
_FIELD = re.compile(r"\{([^{}]*)\}")


def compiled(pattern: str, *, longest: bool = False, asked: str = LABEL) -> re.Pattern[str]:
    """The names that a pattern means, without their ending; a field reaches to the first place where what
    follows it in the pattern stands, with `longest` to the last such place, and the last field to the end.

    Args:
        asked: the field that it must hold; beside pictures with boxes, whose classes stand elsewhere, the
            group.

    Raises:
        SettingError: no {label}, a field twice, or two fields with nothing between.

    >>> compiled("{label}_{group}_{index}").fullmatch("7_jackson_32").groupdict()
    {'label': '7', 'group': 'jackson'}
    """
    fields = _FIELD.findall(pattern)
    why = ""
    if asked == GROUP and (fields.count(GROUP) != 1 or LABEL in fields):
        why = (
            "must hold {group} once and no {label}, for the annotations say what the pictures show"
        )
    elif asked == LABEL and fields.count(LABEL) != 1:
        why = "must hold {label} once, where the class or number stands in the names of the files"
    elif fields.count(GROUP) > 1:
        why = "{group} stands in it twice"
    elif "}{" in pattern:
        why = "two fields with nothing between them cannot be told apart"
    elif _FIELD.sub("", pattern).strip("{}") != _FIELD.sub("", pattern):
        why = "a brace stands in it that belongs to no field"
    if why:
        raise SettingError(
            f"data.pattern = {pattern}: {why}. Write it like {{label}}_{{group}}_{{index}}, for names like "
            "7_jackson_32.wav: {label} is what is learnt, {group} what the split keeps together, any other "
            "field is ignored.",
            setting="data.pattern",
        )
    out, some_text = "", "[^/]+" if longest else "[^/]+?"
    for i, text in enumerate(_FIELD.split(pattern)):
        if i % 2 == 0:
            out += re.escape(text)
        else:
            out += f"(?P<{text}>{some_text})" if text in (LABEL, GROUP) else some_text
    return re.compile(out)


def fields_of(key: str, pattern: str) -> dict[str, str] | None:
    """{"label", "group"} of a file's key (its path in the folder), as far as the pattern has them; None
    where it does not fit, or fits in more than one way.

    >>> fields_of("recordings/cat_32.wav", "{label}_{index}"), fields_of("a/b.wav", "{group}/{label}")
    ({'label': 'cat'}, {'group': 'a', 'label': 'b'})
    """
    found = readings(key, pattern)
    return found[0] if len(found) == 1 else None


def readings(key: str, pattern: str, asked: str = LABEL) -> list[dict[str, str]]:
    """What a file's key may say, each as in `fields_of`: none, one, or of several the one with the first
    fields shortest and the one with the first fields longest. As many folders are looked at as the pattern
    names.

    >>> readings("red_fox_3.wav", "{label}_{index}")
    [{'label': 'red'}, {'label': 'red_fox'}]
    """
    path = PurePosixPath(key)
    parts = (*path.parts[:-1], path.name[: len(path.name) - len(path.suffix)])
    text = "/".join(parts[-pattern.count("/") - 1 :])
    ways = (compiled(pattern, longest=longest, asked=asked) for longest in (False, True))
    first, last = (way.fullmatch(text) for way in ways)
    if first is None or last is None:
        return []
    # Every separator lies as far left as it can in the one, and as far right in the other: where label and
    # group lie alike in both, they do in all readings.
    alike = all(first.span(name) == last.span(name) for name in first.groupdict())
    return [first.groupdict()] if alike else [first.groupdict(), last.groupdict()]


def scan_by_pattern(
    folder: Path, pattern: str, suffixes: Sequence[str], *, numbers: bool = False
) -> tuple[list[Item], list[Problem]]:
    """The files of a folder, however deep, with the labels and groups that their names hold; those whose
    names do not fit, or fit in more than one way, are left out and listed.

    Folders train, val and test at the top are the source's own split.

    Args:
        numbers: the labels are to be numbers; names where they are not do not fit.

    Raises:
        SettingError: a pattern that is none.
        BadData: none of the names fits, or more than a tenth fit in more than one way.
    """
    files = [path for path in files_below(folder) if path.suffix.lower() in suffixes]
    tops = {p.relative_to(folder).parts[0].lower() for p in files if p.parent != folder}
    split = len(tops) > 1 and "train" in {PARTS.get(top) for top in tops}
    items, odd, unclear = [], [], []
    for path in files:
        key = key_of(path, folder)
        ways = readings(key, pattern)
        if len(ways) > 1:
            unclear.append((key, ways))
            continue
        found = ways[0] if ways else None
        top = path.relative_to(folder).parts[0].lower()
        part = PARTS.get(top, "") if split and path.parent != folder else ""
        if found is None or (numbers and not is_number(found[LABEL])):
            odd.append(key)
        else:
            label = float(found[LABEL]) if numbers else found[LABEL]
            items.append(Item(path, key, label, part, found.get(GROUP, "")))
    problems = _unclear(unclear, pattern, refused=len(unclear) > FEW * len(files))
    if not items:
        compiled(pattern)
        raise refuse(
            "no_name_fits",
            f"data.pattern = {pattern}: none of the {many(len(files), 'file')} of {folder} is named so"
            + (f" ({some(odd)})." if odd else "."),
            "Write the pattern as the names are, without their ending.",
            odd or str(folder),
            setting="data.pattern",
        )
    if not odd:
        return items, problems
    text = f"{many(len(odd), 'file')} not named like {pattern} left out: {some(odd)}."
    mend = "Rename them, or leave them out."
    problems.append(Problem("name_without_label", "warning", tuple(odd), text, mend))
    return items, problems


def groups_by_pattern(keys: Sequence[str], pattern: str) -> np.ndarray:
    """[file] the group that the name of each holds.

    Raises:
        SettingError: a pattern without a group.
        BadData: names that do not fit, or fit in more than one way.

    >>> groups_by_pattern(["street3_07.jpg", "b/yard_1.jpg"], "{group}_{index}").tolist()
    ['street3', 'yard']
    """
    compiled(pattern, asked=GROUP)
    found = [readings(key, pattern, asked=GROUP) for key in keys]
    odd = [key for key, ways in zip(keys, found, strict=True) if len(ways) != 1]
    if odd:
        raise refuse(
            "no_group_in_name",
            f"data.pattern = {pattern}: {len(odd):,} of {many(len(keys), 'picture')} say no group so, or "
            f"in more than one way ({some(odd)}).",
            "Write the pattern as the names are, without their ending, or rename the pictures.",
            odd,
            setting="data.pattern",
        )
    return np.array([ways[0][GROUP] for ways in found])


def _unclear(
    unclear: Sequence[tuple[str, list[dict[str, str]]]], pattern: str, *, refused: bool
) -> list[Problem]:
    """What to say of names that fit in more than one way, each with its readings.

    Raises:
        BadData: they are to be refused.
    """
    if not unclear:
        return []
    where = tuple(key for key, _ in unclear)
    first, (one, other) = unclear[0]
    name = next(name for name in one if one[name] != other[name] or name == LABEL)
    text = (
        f"data.pattern = {pattern}: {many(len(where), 'file')} can be read in more than one way: the "
        f"{name} of {first} may be {one[name]} or {other[name]}, since what ends a field stands more often "
        "in the name than in the pattern."
    )
    mend = (
        "Give the pattern a field for each part of the names ({label}_{other}_{index}), or rename the "
        "files so that no part holds what ends it (red-fox_0)."
    )
    if refused:
        raise refuse("name_unclear", text, mend, where, setting="data.pattern")
    text = f"{text} Left out: {some(where)}."
    return [Problem("name_unclear", "warning", where, text, mend)]


def proposed(names: Sequence[str]) -> str:
    """The pattern that names (without ending) plainly follow, "" where there is none: parts between equal
    separators, of which one comes again and again and is no running number.

    >>> proposed([f"{digit}_{who}_{i}" for digit in range(3) for who in ("ann", "bob") for i in range(9)])
    '{label}_{group}_{index}'
    >>> proposed(["cat.1", "cat.2", "dog.3", "dog.4"]), proposed(["img_1", "img_2", "img_3", "img_4"])
    ('{label}.{index}', '')
    """
    for mark in SEPARATORS:
        rows = [name.split(mark) for name in names]
        widths = {len(row) for row in rows}
        if (
            len(names) < LEAST_FILES
            or len(widths) != 1
            or min(widths) < 2
            or not all(map(all, rows))
        ):
            continue
        columns = list(zip(*rows, strict=True))
        different = [len(set(column)) for column in columns]
        # What numbers the files: the last of the columns with the most values.
        index = max(range(len(columns)), key=lambda i: (different[i], i))
        telling = [
            i
            for i, count in enumerate(different)
            if i != index and count > 1 and 2 * count <= len(names)
        ]
        if telling:
            called = {index: "index", **dict(zip(telling, (LABEL, GROUP), strict=False))}
            fields = (called.get(i, f"field{i + 1}") for i in range(len(columns)))
            return mark.join(f"{{{name}}}" for name in fields)
    return ""


def refuse_unnamed(called: str, files: Sequence[Path]) -> None:
    """Ask for the pattern where the names of files without class folders plainly follow one.

    Args:
        called: the folder, for the message.

    Raises:
        BadData: they do; with the setting filled in.
    """
    pattern = proposed([path.stem for path in files])
    if not pattern:
        return
    first = files[0]
    found: Any = fields_of(first.name, pattern)
    said = f"{found[LABEL]} its class"
    said += f" and {found[GROUP]} what the split must keep together" if GROUP in found else ""
    raise BadData(
        [
            Problem(
                "labels_in_names",
                "error",
                (called,),
                f"{called} holds no folder a class, but names like {first.name}: is {said}?",
                f"If so, set data.pattern={pattern}"
                + (
                    f" ({pattern.replace(GROUP, 'other')} to let the split part them)"
                    if GROUP in found
                    else ""
                )
                + "; other fields are ignored.",
            )
        ],
        setting="data.pattern",
    )

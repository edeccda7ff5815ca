"""Folders of class folders with images, texts or recordings, with or without train, val and test folders;
or of files whose names hold the label. No torch.
"""

from pathlib import Path
from typing import Any

from fitwell.data.files import Found, Item, files_below, is_hidden, key_of
from fitwell.data.items import read_items
from fitwell.data.names import NOUNS, PARTS, SUFFIXES
from fitwell.data.options import target_and_task
from fitwell.data.pattern import LABEL, refuse_unnamed, scan_by_pattern
from fitwell.data.types import BadData, Data, Problem, both, listed, some
from fitwell.spec import Kind, Spec

# Files that are sources by themselves.
SINGLE = (".csv", ".tsv", ".parquet", ".npz", ".ts", ".zip", ".tar", ".tgz", ".gz")
README = {".txt", ".md"}
KNOWN = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
# A text outside of class folders is a readme.
STRAYS: dict[Kind, str] = {"images": "images_without_class", "audio": "recordings_without_class"}


def read_folder(
    folder: Path, options: dict[str, Any], *, name: str = "", like: Spec | None = None
) -> Data:
    """`Data` of a folder of class folders; files that cannot be used are left out and listed.

    Args:
        folder: holds a folder a class, or `train`, `val`, `test` with a folder a class each; with
            `data.pattern` files that are named so, wherever in it.
        name: of the data; by default the folder's.
        options, like: as `read_items` has them.

    Raises:
        BadData: nothing in it, no class folders, or no readable file.
    """

    def nothing(problems: list[Problem]) -> BadData:
        return _nothing(folder, name or str(folder), problems)

    if pattern := options["pattern"]:
        _, task = target_and_task(options, like)
        options = {**options, "task": "classification" if task == "auto" else task}
        numbers = task == "regression"
        items, problems = scan_by_pattern(folder, pattern, KNOWN, numbers=numbers)
    else:
        items, problems = scan(_class_folders_in(folder), folder)
        options = {**options, "task": "classification"}
        # All in one class folder, as archives have it, or in none: the label may stand in the names.
        if like is None and len({item.label for item in items}) < 2:
            files = [path for path in files_below(folder) if path.suffix.lower() in KNOWN]
            refuse_unnamed(name or str(folder), files)
    if not items:
        raise nothing(problems)
    target = LABEL if pattern else "folder"
    found = Found(name or folder.resolve().name, items, target, nothing, problems=problems)
    return read_items(found, options, like)


def _class_folders_in(folder: Path) -> Path:
    """The folder that holds the class folders: this one, or the only one in it, if several are in that and
    nothing but a readme stands beside it."""
    below = _folders(folder)
    beside = {p.suffix.lower() for p in _files(folder)} & {*KNOWN}
    if len(below) != 1 or not beside <= README:
        return folder
    inner = _class_folders_in(below[0])
    return inner if len(_folders(inner)) > 1 else folder


def scan(top: Path, folder: Path) -> tuple[list[Item], list[Problem]]:
    """Every file of every class folder, sorted, and problems of the layout.

    Args:
        top: holds the class folders, or the parts.
        folder: what the files are called from.
    """
    problems: list[Problem] = []
    below = _folders(top)
    named = {p: PARTS[p.name.lower()] for p in below if p.name.lower() in PARTS}
    split = "train" in named.values() and len(set(named.values())) > 1
    if not split and len(below) == 1 and set(named.values()) == {"train"}:
        split = True
    roots = sorted(named.items()) if split else [(top, "")]
    loose = [p for root in ([top] if split else []) for p in _files(root)]
    if split and len(below) > len(named):
        others = [p.name for p in below if p not in named]
        text = f"{some(others)} beside the parts {some(p.name for p in named)} was not read."
        problems.append(
            Problem("folder_ignored", "note", tuple(others), text, "Move it into a part.")
        )
    items = []
    for root, part in roots:
        loose += _files(root)
        for label in _folders(root):
            files = list(files_below(label))
            if not files:
                text = f"The class folder {label.relative_to(folder).as_posix()} holds no file."
                where = (label.relative_to(folder).as_posix(),)
                problems.append(
                    Problem("empty_class", "warning", where, text, "Fill it, or remove it.")
                )
            items += [Item(p, key_of(p, folder), label.name, part) for p in files]
    for kind, name in STRAYS.items():
        stray = [key_of(p, folder) for p in loose if p.suffix.lower() in SUFFIXES[kind]]
        what = both(NOUNS[kind], "outside any class folder left out")
        mend = "Move each into a folder named after its class."
        problems += listed(name, "warning", what, mend, stray)
    return items, problems


def _nothing(folder: Path, called: str, problems: list[Problem]) -> BadData:
    """Why there is no image in what is called so, with the layout that is needed."""
    last = Path(called).name
    layout = (
        f"Put the images into a folder a class: {last}/cat/1.jpg, {last}/dog/2.jpg; texts "
        f"and recordings likewise: {last}/good/1.txt; or say with data.pattern where the class "
        "stands in their names."
    )
    inner = _folders(folder)
    if not any(folder.iterdir()):
        first = Problem("empty_folder", "error", (called,), f"{called} is empty.", layout)
    elif stray := next((p for p in problems if p.name in STRAYS.values()), None):
        what, shown = ("images", "what they show")
        if stray.name == STRAYS["audio"]:
            what, shown = ("recordings", "what is heard in them")
        text = f"{called} holds {what} but no class folders, so nothing says {shown}."
        first = Problem(stray.name, "error", (called,), text, layout)
        problems = [p for p in problems if p.name != first.name]
    else:
        others = [p.name for p in _files(folder) if p.suffix.lower() in SINGLE]
        text = f"{called} holds no image that can be read" + (
            f" in its folders {some(p.name for p in inner)}." if inner else "."
        )
        if others:
            text += (
                f" It holds {some(others)}, which {'are sources' if others[1:] else 'is a source'}."
            )
            layout = f"Name one of them, or: {layout[0].lower()}{layout[1:]}"
        first = Problem("no_images", "error", (called,), text, layout)
    return BadData([first, *problems])


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not is_hidden(p))

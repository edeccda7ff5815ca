"""Names of classes beside labels of YOLO: classes.txt, obj.names, or `names:` of data.yaml. No torch."""

from pathlib import Path

from fitwell.data.annotated import MOST_TEXT_BYTES, Unclear
from fitwell.data.types import refuse

LISTS = ("classes.txt", "obj.names", "classes.names", "labels/classes.txt")


def names_of(folder: Path) -> tuple[dict[int, str] | None, str]:
    """(id -> name, in order of the ids, and the file that says so); None where no file does.

    Raises:
        BadData: a file with names that cannot be read.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".yaml", ".yml"))
    for path in files:
        try:
            names = names_in(_text(path))
        except Unclear as error:
            raise refuse(
                "class_names",
                f"{path.name}: names cannot be read: {error}.",
                "Write them as names: [cat, dog], as a line `- cat` each, or a line `0: cat` each; or into "
                "classes.txt, one a line.",
                str(path),
            ) from None
        if names is not None:
            return names, path.name
    for name in LISTS:
        if (folder / name).is_file():
            try:
                lines = [line.strip() for line in _text(folder / name).splitlines()]
            except Unclear as error:
                raise refuse(
                    "class_names",
                    f"{name} cannot be read: {error}.",
                    "Write one name a line, in UTF-8.",
                    str(folder / name),
                ) from None
            while lines and not lines[-1]:
                lines.pop()
            return dict(enumerate(lines)), name
    return None, ""


def names_in(text: str) -> dict[int, str] | None:
    """id -> name of the key `names` of a YAML file; None where it has none.

    Raises:
        Unclear: no YAML, or another form than a list or a mapping from numbers.

    >>> names_in("nc: 2\\nnames: ['cat', \\"a dog\\"]  # two")
    {0: 'cat', 1: 'a dog'}
    >>> names_in("names:\\n  1: yes\\n  0: no")
    {0: 'no', 1: 'yes'}
    """
    import yaml

    try:
        # Every value as it is written: a class may be called yes, or 1e3.
        document = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise Unclear(f"{line}{error.problem or 'no YAML'}") from None
    except (yaml.YAMLError, RecursionError):
        raise Unclear("it is no YAML") from None
    if not isinstance(document, dict) or "names" not in document:
        return None
    found = document["names"]
    if isinstance(found, list):
        found = dict(enumerate(found))
    if not isinstance(found, dict):
        raise Unclear(f"they are {found[:40]}" if found else "there are none")
    if odd := [key for key in found if not str(key).isdecimal()]:
        raise Unclear(f"{str(odd[0])[:40]} is no number")
    if odd := [name for name in found.values() if not isinstance(name, str) or not name.strip()]:
        raise Unclear(f"{str(odd[0])[:40] or 'an empty place'} is no plain name")
    names = {int(key): name for key, name in sorted(found.items(), key=lambda item: int(item[0]))}
    if not names:
        raise Unclear("there are none")
    if len(set(names.values())) < len(names):
        twice = next(n for n in names.values() if list(names.values()).count(n) > 1)
        raise Unclear(f"{twice} stands twice")
    return names


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_TEXT_BYTES:
            raise Unclear(f"it is larger than {MOST_TEXT_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, Unclear):
            raise
        raise Unclear(str(error).split("\n")[0]) from None

"""Names of classes beside labels of YOLO: classes.txt, obj.names, or `names:` of data.yaml. No torch.

Of YAML only what such files hold is read: a list or a mapping from numbers, in brackets or a line each.
"""

import re
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
        Unclear: another form than a list or a mapping from numbers.

    >>> names_in("nc: 2\\nnames: ['cat', \\"a dog\\"]  # two")
    {0: 'cat', 1: 'a dog'}
    >>> names_in("names:\\n  1: dog\\n  0: cat") == names_in("names: {0: cat, 1: dog}")
    True
    """
    lines = text.lstrip("\ufeff").splitlines()
    start = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        return None
    first = _plain(lines[start].split(":", 1)[1])
    if first[:1] in ("[", "{"):
        return _bracketed(first, lines[start + 1 :])
    if first:
        raise Unclear(f"they are {first[:40]}")
    return _lines(lines[start + 1 :])


def _bracketed(first: str, rest: list[str]) -> dict[int, str]:
    """`[a, b]` or `{0: a, 1: b}`, perhaps over several lines."""
    end = "]" if first[0] == "[" else "}"
    whole = first
    for line in rest:
        if whole.endswith(end):
            break
        whole += " " + _plain(line)
    if not whole.endswith(end):
        raise Unclear(f"there is no {end}")
    items = _parted(whole[1:-1])
    if first[0] == "[":
        return _numbered({i: _scalar(item) for i, item in enumerate(items)})
    return _pairs(items)


def _lines(rest: list[str]) -> dict[int, str]:
    """A line `- a` or `0: a` each, up to the next key."""
    items: list[str] = []
    dashes: set[bool] = set()
    for line in rest:
        plain = _plain(line)
        if not plain or plain == "---":
            continue
        dashed = plain.startswith("- ")
        if not dashed and not line[:1].isspace():
            break
        dashes.add(dashed)
        items.append(plain[2:].strip() if dashed else plain)
    if len(dashes) > 1:
        raise Unclear("some lines begin with a dash and some do not")
    if True in dashes:
        return _numbered({i: _scalar(item) for i, item in enumerate(items)})
    return _pairs(items)


def _pairs(items: list[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for item in items:
        found = re.match(r"""(['"]?)(\d+)\1\s*:\s+(.+)$""", item)
        if found is None:
            raise Unclear(f"{item[:40]} is no number with a name")
        number = int(found[2])
        if number in names:
            raise Unclear(f"class {number} stands twice")
        names[number] = _scalar(found[3])
    return _numbered(dict(sorted(names.items())))


def _numbered(names: dict[int, str]) -> dict[int, str]:
    if not names:
        raise Unclear("there are none")
    if len(set(names.values())) < len(names):
        twice = next(n for n in names.values() if list(names.values()).count(n) > 1)
        raise Unclear(f"{twice} stands twice")
    return names


def _scalar(text: str) -> str:
    """A word or a sentence, perhaps in quotes."""
    text = text.strip()
    quote = text[:1]
    if quote in ("'", '"'):
        if len(text) < 2 or text[-1] != quote or (quote == '"' and "\\" in text):
            raise Unclear(f"{text[:40]} is not in simple quotes")
        return text[1:-1].replace("''", "'") if quote == "'" else text[1:-1]
    if not text or text[0] in "[]{}&*!|>%@`," or re.search(r":(\s|$)", text):
        raise Unclear(f"{text[:40] or 'an empty place'} is no plain name")
    return text


def _parted(text: str) -> list[str]:
    """Parted at commas outside quotes; a comma at the end parts nothing."""
    items = re.findall(r"""\s*((?:'(?:[^']|'')*'|"[^"]*"|[^,'"]|(?<=\w)')*)\s*(?:,|$)""", text)
    items = [item.strip() for item in items]
    while items and not items[-1]:
        items.pop()
    return items


def _plain(line: str) -> str:
    """A line without a comment and without blanks around it."""
    out, quote = "", ""
    for i, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and (not out.strip() or out.rstrip()[-1] in "[{,:-"):
            quote = char
        elif char == "#" and (i == 0 or line[i - 1].isspace()):
            break
        out += char
    return out.strip()


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_TEXT_BYTES:
            raise Unclear(f"it is larger than {MOST_TEXT_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, Unclear):
            raise
        raise Unclear(str(error).split("\n")[0]) from None

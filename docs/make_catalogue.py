"""`docs/catalogue.md`: everything that has a name, from the tables: `make docs`.

The text is what `fitwell explain NAME` says, from the docstrings and signatures.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fitwell.api.naming import explain
from fitwell.settings import summaries, typed
from fitwell.textbook import sketch

PAGE = Path(__file__).with_name("catalogue.md")
TITLES = {
    "sources": "Sources: data by name",
    "models": "Models",
    "layers": "Layers",
    "activations": "Activations",
    "inits": "First weights",
    "losses": "Losses",
    "optimizers": "Optimizers",
    "schedules": "Learning-rate schedules",
    "metrics": "Metrics",
    "augmentations": "Augmentations",
    "findings": "Findings: what can be wrong",
    "remedies": "Remedies: what is put on trial",
}
HEAD = """# The catalogue

Every name that fitwell knows, with what it computes, when to use it and when not. Written by
`make docs` from the code; `fitwell explain NAME` prints an entry, with its curve or with the shapes
that its settings lead to.
"""
LABELS = ("formula", "use", "weakness", "symptom", "mechanism", "threshold", "source")


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    kinds = {kind: entries for kind, entries in summaries().items() if entries}
    links = (f"[{TITLES[kind]}](#{_anchor(TITLES[kind])})" for kind in kinds)
    parts.append(" · ".join(links) + "\n")
    for kind, entries in kinds.items():
        parts.append(f"## {TITLES[kind]}\n")
        parts += [section(kind, name) for name in entries]
    return "\n".join(parts)


def section(kind: str, name: str) -> str:
    """One entry: its text, its settings, and a curve where it has one."""
    entry = explain(f"{kind}.{name}")
    lines = [f"### {name}", "", f"{entry['summary']}.", ""]
    for label in LABELS:
        if entry.get(label):
            text = _plain(entry[label]) if label != "formula" else f"`{entry[label]}`"
            lines.append(f"- **{label.capitalize()}:** {text}")
    lines += [f"- **{setting}**: {said}" for setting, said in _settings(entry)]
    # The last dot of an init's histogram differs from machine to machine.
    if kind != "inits" and (drawn := sketch(entry)):
        lines += ["", "```text", *drawn, "```"]
    return "\n".join(lines) + "\n"


def _settings(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, schema in entry["settings"].items():
        yield f"`{typed(name, schema.get('default'))}`", _plain(schema.get("description", ""))


def _plain(text: str) -> str:
    """Text that markdown leaves as it is: an asterisk or an underscore may mean no emphasis."""
    for letter in "*_<>":
        text = text.replace(letter, f"\\{letter}")
    return text


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""What is looked up: lists, entries of the catalogue, networks, the cache."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from fitwell.cli.options import Given
from fitwell.cli.output import amount, document
from fitwell.settings import typed


def listed(rows: list[dict[str, Any]], given: Given) -> None:
    """Plain text, not rich: `list` is part of what must start at once."""
    if given.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not rows:
        print("None yet.")
        return

    width = min(30, max(len(row["name"]) for row in rows))
    for row in rows:
        default = row.get("default")
        said = row["summary"] + (f" (default {default})" if default not in (None, "") else "")
        lines = textwrap.wrap(said, 77 - width) or [""]
        head = f"{row['name']:<{width}}  "
        print((head if len(row["name"]) <= width else f"{head}\n{'':<{width}}  ") + lines[0])
        for line in lines[1:]:
            print(f"{'':<{width}}  {line}")


def cached(result: Mapping[str, Any], given: Given) -> None:
    """A line a kind: entries come and go by themselves, and only --json names each."""
    if given.json:
        document(result)
        return
    if result["removed"]:
        print(f"Removed {amount(sum(row['bytes'] for row in result['removed']))}.")
    print(f"{result['folder']} holds {amount(result['bytes'])}.")
    for kind in dict.fromkeys(row["kind"] for row in result["entries"]):
        rows = [row for row in result["entries"] if row["kind"] == kind]
        size, used = amount(sum(row["bytes"] for row in rows)), rows[-1]["used"]
        print(
            f"  {kind:<10} {size:>10}  {len(rows):>5,}  last used {used[:16].replace('T', ' ')} UTC"
        )
    most = amount(result["limit"])
    print(f"What is decoded and unpacked stays below {most} (FITWELL_CACHE_LIMIT).")


def explained(entry: Mapping[str, Any], given: Given) -> None:
    if given.json:
        print(json.dumps(entry, indent=1, ensure_ascii=False))
        return

    print(textwrap.fill(f"{entry['name']}: {entry.get('summary', '')}", 80, subsequent_indent="  "))
    labels = ("formula", "use", "weakness", "symptom", "mechanism", "threshold", "source")
    for label in labels:
        if entry.get(label):
            text = f"{label.capitalize()}: {entry[label]}"
            print(textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="    "))
    if entry["settings"]:
        print("  Settings:")
        for name, schema in entry["settings"].items():
            value = entry.get("values", {}).get(name, schema.get("default"))
            text = f"{typed(name, value)}: {schema.get('description', '')}"
            print(textwrap.fill(text, 80, initial_indent="    ", subsequent_indent="      "))
    if entry.get("also"):
        print(f"  Also: {', '.join(entry['also'])}")
    from fitwell.textbook import sketch

    lines = sketch(entry)
    print("\n" * bool(lines), end="")
    for line in lines:
        print(f"  {line}".rstrip())


def _pictured(picture: Mapping[str, Any]) -> str:
    """What a sheet shows: `filters of conv1, conv2:`, `augmented by augment.hflip=0.5:`."""

    if "settings" in picture:
        changes = (typed(name, value) for name, value in picture["settings"].items())
        words = f"augmented by {' '.join(change.replace(' ', '') for change in changes)}:"
    else:
        words = f"{picture['name'].replace('_', ' ')} of {', '.join(picture['layers'])}:"
    return textwrap.fill(words, 80)


def shown(result: Mapping[str, Any], given: Given) -> None:
    if given.json:
        document(result)
        return
    if "pictures" in result:
        for picture in result["pictures"]:
            print(_pictured(picture))
            print(f"  {picture['path']}")
        return
    from fitwell.report import structure

    shape = "x".join(str(n) for n in result["input_shape"])
    print(f"{result['model']} for inputs of {shape}:")
    print(
        f"{result['parameters']:,} parameters, {result['multiply_adds']:,} multiply-adds an example"
    )
    print()
    print(structure.parameters(result["table"]))
    print()
    print(structure.layers(result["layers"]))
    print(f"Signal and gradient: variance at the start, on {result['measured_on']}.")
    if "features" in result:
        _features(result)


def _features(result: Mapping[str, Any]) -> None:
    found, total = result["features"], result["table"][0]["shape"][1]
    print(f"\n{len(found)} of {total} features have a weight (of standardised columns):")
    for feature in found:
        weight = feature["weight"]
        said = weight if isinstance(weight, list) else [weight]
        print(f"{feature['name']:<24}" + " ".join(f"{w:>10.4g}" for w in said))

"""Files, each with what it shows or says, to `Data`: of which kind they are, who reads them. No torch."""

from collections.abc import Callable, Sequence

from fitwell.data.audio import read_audio_files
from fitwell.data.audio_files import AUDIO_SUFFIXES
from fitwell.data.files import IMAGE_SUFFIXES, Item, read_files
from fitwell.data.texts import TEXT_SUFFIXES, read_text_files
from fitwell.data.types import BadData, Data, Options, Problem, many, refuse
from fitwell.spec import PLURAL, Kind, Spec

# Files of each kind by the end of their name, and what to call them.
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "images": tuple(IMAGE_SUFFIXES),
    "text": TEXT_SUFFIXES,
    "audio": AUDIO_SUFFIXES,
}
NOUNS: dict[str, str] = {"images": "image", "text": "text", "audio": "recording"}
STRAY = 0.1  # fewer than this beside files of another kind: a readme among images


def read_items(
    items: list[Item],
    problems: list[Problem],
    options: Options,
    *,
    name: str,
    target: str,
    targets: Sequence[str] = (),
    nothing: Callable[[list[Problem]], BadData],
    like: Spec | None = None,
) -> Data:
    """`Data` of the items that can be read.

    Args:
        problems: found so far.
        target, targets: what the labels are called, all and each.
        nothing: the error to raise where no image can be read.
        like: the spec of a model that is to read them.

    Raises:
        BadData: nothing can be read, or files of several kinds leave open which are meant.
    """
    kind = kind_of(items, options, like, name)
    if like is not None and like.kind != kind:
        raise other_kind(name, kind, like)
    if kind == "text":
        return read_text_files(
            items, problems, options, name=name, target=target, targets=targets, like=like
        )
    if kind == "audio":
        return read_audio_files(
            items, problems, options, name=name, target=target, targets=targets, like=like
        )
    return read_files(
        items,
        problems,
        options,
        name=name,
        target=target,
        targets=targets,
        nothing=nothing,
        like=like,
    )


def other_kind(name: str, kind: str, like: Spec) -> BadData:
    """The error for images where a model reads tables, and the like."""
    return refuse(
        "other_kind",
        f"{name} holds {PLURAL[kind]}, and this model reads {PLURAL[like.kind]}.",
        "Give data like that which the model was trained on.",
        name,
    )


def kind_of(items: list[Item], options: Options, like: Spec | None, name: str) -> Kind:
    """What the files hold, by their names.

    Raises:
        BadData: files of several kinds leave it open.
    """
    if like is not None and like.kind in SUFFIXES:
        return like.kind
    counts = {
        kind: sum(item.path.suffix.lower() in suffixes for item in items)
        for kind, suffixes in SUFFIXES.items()
    }
    if options["kind"] in counts:
        return options["kind"]
    most = max(counts.values())
    several = [kind for kind, count in counts.items() if count and count >= STRAY * most]
    if len(several) > 1:
        said = " and ".join(many(counts[kind], NOUNS[kind]) for kind in several)
        raise refuse(
            "ambiguous_kind",
            f"{name} holds {said}, which cannot be learnt from together.",
            f"Say which are meant: {' or '.join(f'data.kind={kind}' for kind in several)}.",
            name,
            setting="data.kind",
        )
    return several[0] if several else "images"

"""Files, each with what it shows or says, to `Data`: of which kind they are, who reads them. No torch."""

from fitwell.data.audio import read_audio_files
from fitwell.data.files import Found, Item, read_files
from fitwell.data.names import NOUNS, SUFFIXES
from fitwell.data.texts import read_text_files
from fitwell.data.types import BadData, Data, Options, many, refuse
from fitwell.spec import PLURAL, Kind, Spec

STRAY = 0.1  # fewer than this beside files of another kind: a readme among images


READERS = {"images": read_files, "text": read_text_files, "audio": read_audio_files}


def read_items(found: Found, options: Options, like: Spec | None = None) -> Data:
    """`Data` of the files that can be read.

    Args:
        like: the spec of a model that is to read them.

    Raises:
        BadData: nothing can be read, or files of several kinds leave open which are meant.
    """
    kind = kind_of(found.items, options, like, found.name)
    if like is not None and like.kind != kind:
        raise other_kind(found.name, kind, like)
    return READERS[kind](found, options, like)


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

"""The settings `data.*`: declared once, here. No torch."""

from collections.abc import Mapping
from inspect import signature
from typing import Annotated, Any, Literal

from pydantic import Field

from fitwell.data.preprocess import Scaling
from fitwell.data.tokens import How
from fitwell.errors import SettingError, did_you_mean
from fitwell.spec import PLURAL, Spec


def data_settings(
    *,
    target: Annotated[
        str,
        Field(
            description="column (or array of a .npz) to predict, or several columns with commas between; "
            "empty: guessed where that is unambiguous, and said"
        ),
    ] = "",
    task: Annotated[
        Literal["auto", "classification", "multilabel", "regression"],
        Field(
            description="what to predict; auto: a class for text and for few whole numbers, a number "
            "otherwise; multilabel: any number of labels an example, as in cat;dog, or 0 and 1 in a "
            "column for each"
        ),
    ] = "auto",
    kind: Annotated[
        Literal["auto", "images", "table", "text", "boxes", "audio", "series"],
        Field(
            description="what the source holds; auto: as the names of files and the cells say, asked about "
            "where they leave it open"
        ),
    ] = "auto",
    text: Annotated[
        str,
        Field(
            description="column of a table that holds the texts to learn from; empty: the only one of texts"
        ),
    ] = "",
    validation: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            description="share of the training examples cut off for early stopping, best weights",
        ),
    ] = 0.1,
    test: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            description="share of the examples held out to score once; a source's own test part "
            "overrides it",
        ),
    ] = 0.1,
    group: Annotated[
        str,
        Field(
            description="column (or array of a .npz) of groups: no group is on both sides of a split"
        ),
    ] = "",
    time: Annotated[
        str,
        Field(
            description="column (or array of a .npz) of dates or numbers: the test part is later than all "
            "else, each fold later than what it is trained on"
        ),
    ] = "",
    folds: Annotated[int, Field(ge=2, le=100, description="parts of the cross-validation")] = 5,
    repeats: Annotated[
        int,
        Field(
            ge=1,
            le=20,
            description="how often `cv` parts the examples into folds and trains on each, with a seed of "
            "its own",
        ),
    ] = 1,
    dates: Annotated[
        Literal["auto", "day_first", "month_first"],
        Field(
            description="how 03/04/2024 is read; auto: as the days above 12 in the column say, refused "
            "where there are none"
        ),
    ] = "auto",
    image_size: Annotated[
        int,
        Field(
            ge=0,
            le=1024,
            description="side of the square that images are resized to, in pixels; "
            "0: the median short side, from 8 to 64; of pictures with boxes 320",
        ),
    ] = 0,
    resize: Annotated[
        Literal["crop", "squash"],
        Field(
            description="how images of other proportions get there; crop: short side to size, "
            "centre kept; squash: all of the image, which loses its proportions"
        ),
    ] = "crop",
    crop_size: Annotated[
        int,
        Field(
            ge=0,
            le=1024,
            description="side of the square that the model sees of each image: its centre, and of training "
            "images a random place, or the part that augment.crop cuts out; 0: all of it",
        ),
    ] = 0,
    normalise: Annotated[
        Literal["train", "pretrained"],
        Field(
            description="mean and scale of each channel of images: of the training part, or those "
            "that the weights of model.pretrained were trained with (ImageNet's, or a run's own)"
        ),
    ] = "train",
    scaling: Annotated[
        Scaling,
        Field(
            description="of the numbers of a table; standard: by mean and standard deviation; robust: by "
            "median and quartiles, bent into -3 to 3, so that no outlier rules a column"
        ),
    ] = "standard",
    vocabulary: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="so many words of texts are told apart: the most frequent of the training part "
            "that stand in two texts or more",
        ),
    ] = 20_000,
    length: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="words of a text that are read, from its start; 0: all of the longest, at most "
            "4,096",
        ),
    ] = 0,
    tokens: Annotated[
        How,
        Field(
            description="what one text, to model its language, is told apart into: characters, words (the "
            "data.vocabulary most frequent that stand twice in the training part), or byte pairs (learnt "
            "from the training part)"
        ),
    ] = "character",
    context: Annotated[
        int,
        Field(
            ge=4,
            le=65_536,
            description="tokens of one text that a model is shown at once: its chunks, and how far "
            "back-propagation through time goes",
        ),
    ] = 128,
    pattern: Annotated[
        str,
        Field(
            description="where the label stands in the names of files that lie in no class folders, as in "
            "{label}_{group}_{index}; a field ends where the text after it begins, and names that hold "
            "that text more often are not guessed at; {group} is kept together by the split, other fields "
            "are ignored; of pictures with boxes {group} alone is named"
        ),
    ] = "",
    rate: Annotated[
        int,
        Field(
            ge=0,
            le=192_000,
            description="samples a second that recordings are brought to, in Hz; 0: the most frequent "
            "rate; of arrays, which do not say it, the rate they have",
        ),
    ] = 0,
    seconds: Annotated[
        float,
        Field(
            ge=0,
            le=600,
            description="length that recordings are cut or padded with zeros to; 0: the longest, at "
            "most 10",
        ),
    ] = 0.0,
    mels: Annotated[
        int,
        Field(
            ge=1,
            le=256,
            description="bands of the log-mel spectrograms of recordings; fewer where the rate is too low "
            "for each to hold a frequency",
        ),
    ] = 64,
    annotations: Annotated[
        Literal["auto", "voc", "coco", "yolo"],
        Field(
            description="what says where the boxes in a folder of pictures are; auto: what is there, "
            "refused where there are several; voc: XML files of Pascal VOC; coco: JSON of COCO; yolo: "
            "text files of YOLO"
        ),
    ] = "auto",
    unannotated: Annotated[
        Literal["left_out", "background"],
        Field(
            description="what becomes of pictures, among those with boxes, of which no annotation says "
            "anything; background: they are taken as ones with nothing in them"
        ),
    ] = "left_out",
    look_back: Annotated[
        int,
        Field(
            ge=0,
            le=100_000,
            description="steps of one long series that a forecast is made from; 0: 14 seasons, at most a "
            "fifth of the series",
        ),
    ] = 0,
    horizon: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="steps of one long series that are forecast; 0: a season, at most a twelfth of the "
            "series",
        ),
    ] = 0,
    at_once: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="steps of the horizon that a model forecasts at once; 0: all of them (direct); "
            "fewer: it goes on from its own forecasts (recursive)",
        ),
    ] = 0,
    season: Annotated[
        int,
        Field(
            ge=0,
            le=100_000,
            description="steps after which one long series repeats itself, by which the seasonal naive "
            "forecast is made; 1: it does not; 0: by the time between them (24 hours, 7 days, "
            "12 months), or by the values of the training part",
        ),
    ] = 0,
    steps: Annotated[
        list[Annotated[int, Field(ge=0)]],
        Field(
            description="how many steps of one long series are for training, validation and test, in the "
            "order of time, as in [8640,2880,2880]; what is behind is left out; empty: data.validation and "
            "data.test say it"
        ),
    ] = [],  # noqa: B006
    root: Annotated[
        str, Field(description="folder that already holds the files of a named source; no download")
    ] = "",
    limit: Annotated[
        int,
        Field(
            ge=0,
            description="at most so many examples outside the test part, stratified; 0: all",
        ),
    ] = 0,
) -> dict[str, Any]:
    """The settings `data.*` with every default filled in."""
    return dict(locals())


# The settings that change what is read, and those that change how a model sees it; the others say how
# it is split.
PREPARING = ("normalise", "scaling")
READING = (
    "kind",
    "text",
    "target",
    "task",
    "group",
    "time",
    "dates",
    "image_size",
    "resize",
    "crop_size",
    "vocabulary",
    "length",
    "tokens",
    "context",
    "pattern",
    "rate",
    "seconds",
    "mels",
    "annotations",
    "unannotated",
    "root",
    "limit",
    "look_back",
    "horizon",
    "at_once",
    "season",
    "steps",
)


# Settings of data of some kinds alone.
OF_KIND: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "vocabulary": ("text",),
    "length": ("text",),
    "rate": ("audio",),
    "seconds": ("audio",),
    "mels": ("audio",),
    "resize": ("images", "boxes"),
    "crop_size": ("images",),
    "annotations": ("boxes",),
    "unannotated": ("boxes",),
}

# Settings of one long series alone, which say that a table is one.
OF_FORECASTS = ("look_back", "horizon", "at_once", "season", "steps")
# Of one task: its settings, and what they are for.
OF_TASK = {
    "language": (("tokens", "context"), "one text whose language is modelled"),
    "forecasting": (OF_FORECASTS, "one long series"),
}


def refuse_of_other_kinds(options: Mapping[str, Any], spec: Spec) -> None:
    """Refuse settings that say nothing about data of this kind.

    Raises:
        SettingError: one of them is set.
    """
    usual = data_settings()
    meant = {name: " and ".join(PLURAL[kind] for kind in kinds) for name, kinds in OF_KIND.items()}
    wrong = [name for name, kinds in OF_KIND.items() if spec.kind not in kinds]
    for task, (names, what) in OF_TASK.items():
        meant |= dict.fromkeys(names, what)
        wrong += names if spec.task != task else []
    for name in wrong:
        if options[name] != usual[name]:
            raise SettingError(
                f"data.{name} = {options[name]}: is for {meant[name]}, and these are {spec.examples}. "
                "Leave it out.",
                setting=f"data.{name}",
            )


def target_and_task(options: Mapping[str, Any], like: Spec | None) -> tuple[str, str]:
    """`data.target` and `data.task`; where a model reads the data, what it was trained to predict."""
    if like is None:
        return options["target"], options["task"]
    return options["target"] or like.target, like.task


def filled(spec: Spec, options: Mapping[str, Any]) -> dict[str, Any]:
    """`fill` for data of this spec: of one text nothing is held out to test on unless that is asked for."""
    test = {"test": 0.0} if spec.task == "language" else {}
    return fill({**test, **options})


def fill(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` with the defaults of `data_settings`; `seed` may be among them.

    Raises:
        SettingError: a name that does not exist.
    """
    known = signature(data_settings).parameters
    for name in options:
        if name != "seed" and name not in known:
            raise SettingError(
                f"data.{name}: data has no such setting.{did_you_mean(name, known)} "
                f"It has: {', '.join(known)}.",
                setting=f"data.{name}",
            )
    return {"seed": 0, **data_settings(), **options}

"""Every remedy edits what exists and changes something; ranking merges and leads with causes."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from fitwell.catalog import entry_of
from fitwell.errors import SettingError
from fitwell.families import OF_BOXES, OF_FORECASTS, OF_SEQUENCES, OF_TEXTS
from fitwell.findings import RULES
from fitwell.improve.variants import candidate_recipe, edited
from fitwell.models import MODELS
from fitwell.optim import OPTIMIZERS
from fitwell.options import fine_tuning
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Finding, Remedy
from fitwell.remedies import (
    ADVICE,
    FOR,
    REMEDIES,
    name_of,
    rank_remedies,
    remedies_for,
    with_remedies,
)
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train.job import build_model

IMAGES = Spec("images", "classification", (1, 28, 28), tuple("0123456789"), num_examples=5000)
TABLE = Spec("table", "classification", (8,), ("a", "b"), num_examples=500)
NUMBERS = Spec("table", "regression", (8,), (), num_examples=500)
TEXTS = Spec("text", "classification", (99,), ("a", "b"), vocabulary=50, num_examples=500)
AHEAD = Spec("series", "forecasting", (2, 30), targets=("a", "b"), horizon=3, num_examples=500)
SERIES = Spec("series", "classification", (2, 64), ("a", "b"), num_examples=500)
BOXES = Spec("boxes", "detection", (3, 64, 64), ("a", "b"), num_examples=500)
OF_IMAGES = [m for m in MODELS if m not in (*OF_TEXTS, *OF_SEQUENCES, *OF_FORECASTS, *OF_BOXES)]
CASES = [
    *itertools.product([IMAGES], OF_IMAGES, OPTIMIZERS, ["default"]),
    *itertools.product([BOXES], OF_BOXES, ["sgd", "adamw"], ["default"]),
    *itertools.product([TEXTS], OF_TEXTS, OPTIMIZERS, ["default"]),
    *itertools.product([SERIES, TEXTS], OF_SEQUENCES, ["adamw"], ["default"]),
    *itertools.product([SERIES], ["linear", "mlp"], ["adamw"], ["default"]),
    *itertools.product([AHEAD], [*OF_FORECASTS, "mlp"], ["adamw"], ["default"]),
    *itertools.product([TABLE, NUMBERS], ["linear", "mlp"], ["sgd", "adamw"], ["default"]),
    *itertools.product([IMAGES], ["mlp", "convnet"], ["sgd"], ["sick", "extreme", "suited"]),
]


def a_recipe(spec: Spec, model: str, optimizer: str, kind: str) -> Recipe:
    settings: dict[str, Any] = {"model.name": model, "optim.name": optimizer}
    if kind == "sick":
        settings |= {"model.activation": "sigmoid", "optim.lr": 0.01, "model.dropout": [0.1, 0.5]}
        if model == "convnet":
            settings["model.dropout"] = 0.5
    if kind == "suited":
        settings |= {"model.activation": "leaky_relu", "model.init": "he"}
    if kind == "extreme":
        settings |= {"optim.lr": 50.0, "model.width": 8192, "model.depth": 60}
        settings |= {"optim.weight_decay": 5.0, "train.patience": 3}
    return complete(settings, spec)


def a_finding(name: str, **evidence: Any) -> Finding:
    return Finding(name, "high", evidence, "")


@pytest.mark.parametrize(("spec", "model", "optimizer", "kind"), CASES)
def test_edits_exist_are_valid_and_change_something(
    spec: Spec, model: str, optimizer: str, kind: str
) -> None:
    recipe = a_recipe(spec, model, optimizer, kind)
    for name in RULES:
        for evidence in (
            {},
            {"update_ratio": 1e-6, "divergence_lr": 0.3},
            {"half_of_the_fall_at": 0.5},
        ):
            for remedy in remedies_for(a_finding(name, **evidence), recipe, spec):
                if not remedy.settings:
                    assert remedy.advice
                    continue
                edit = dict(remedy.settings)
                assert set(edit) <= set(recipe), remedy.name
                assert all(recipe[key] != value for key, value in edit.items()), remedy.name
                # Completed again, which validates every value.
                assert edited(recipe, edit, spec) != recipe
                # A policy stands for the changes that it makes.
                said = {k for k in edit if "augment.policy" not in edit or "augment" not in k}
                said |= edit.keys() & {"augment.policy"}
                assert all(f"{key}: " in remedy.name and " -> " in remedy.name for key in said)
                assert name in remedy.why


def test_every_finding_has_remedies_and_every_remedy_is_used_and_documented() -> None:
    assert set(FOR) == set(ADVICE) == set(RULES)
    used = {name for entries in FOR.values() for name in entries}
    assert used <= set(REMEDIES)
    for name, entry in REMEDIES.items():
        text = entry_of(entry)
        assert all(text[part] for part in ("summary", "use", "weakness", "source")), name
    sick = complete(
        {"model.name": "lenet", "model.activation": "sigmoid", "optim.weight_decay": 0.05}, IMAGES
    )
    # Their mend is outside of the recipe.
    advice = {"no_gradient", "slow_pipeline", "leakage", "bad_target", "cannot_tell"}
    advice |= {"head_loss_mismatch", "missing_boxes", "shifted_boxes"}
    assert {name for name, entries in FOR.items() if not entries} == advice
    advice |= {"objects_too_small"}  # of detectors alone
    for name in RULES:
        remedies = remedies_for(a_finding(name), sick, IMAGES)
        assert remedies and any(r.settings for r in remedies) == (name not in advice), name


def settings_of(remedies: Iterable[Remedy]) -> list[dict[str, Any]]:
    return [dict(remedy.settings) for remedy in remedies]


def test_the_sick_start_gets_relu_first_and_the_rate_too() -> None:
    recipe = complete(
        {"model.name": "lenet", "model.activation": "sigmoid", "optim.lr": 0.01}, IMAGES
    )
    found = [
        a_finding("vanishing_gradient"),
        a_finding("lr_too_low", update_ratio=5e-5, explained_by=["vanishing_gradient"]),
    ]
    ranked = rank_remedies(Diagnosis(found), recipe, IMAGES)
    assert ranked[0].name == "model.activation: sigmoid -> relu"
    assert {"model.norm": "batch"} in settings_of(ranked)
    assert any(
        set(edit) == {"optim.lr"} and edit["optim.lr"] > 0.01 for edit in settings_of(ranked)
    )
    assert {"optim.name": "adam", "optim.lr": 0.001} in settings_of(ranked)
    assert len(ranked) <= 8 and len({r.name for r in ranked}) == len(ranked)


def test_the_measured_update_says_how_far() -> None:
    recipe = complete({"model.name": "lenet", "optim.lr": 1e-4}, IMAGES)

    def first(update: float, **evidence: float) -> float:
        finding = a_finding("lr_too_low", update_ratio=update, **evidence)
        return remedies_for(finding, recipe, IMAGES)[0].settings["optim.lr"]

    assert first(1e-5) == pytest.approx(0.03)
    assert first(1e-4) == pytest.approx(0.003)
    assert first(1e-3) == pytest.approx(0.0003)
    assert first(1e-6, divergence_lr=0.03) == pytest.approx(0.01)  # a third of the break
    assert first(0.0) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("optimizer", "lr", "lowest", "highest"), [("sgd", 0.9, 1e-4, 1.0), ("adam", 0.02, 1e-6, 0.03)]
)
def test_rates_stay_within_what_the_optimizer_can_use(
    optimizer: str, lr: float, lowest: float, highest: float
) -> None:
    recipe = complete({"optim.name": optimizer, "optim.lr": lr}, IMAGES)
    for name in RULES:
        for edit in settings_of(remedies_for(a_finding(name), recipe, IMAGES)):
            if set(edit) == {"optim.lr"}:
                assert lowest <= edit["optim.lr"] <= highest


def test_a_rate_far_too_high_comes_back_at_once() -> None:
    recipe = complete({"optim.lr": 10.0}, IMAGES)
    rates = [
        e["optim.lr"]
        for e in settings_of(remedies_for(a_finding("lr_too_high"), recipe, IMAGES))
        if "optim.lr" in e
    ]
    assert rates[0] == 0.05 and len(set(rates)) == len(rates)
    finding = a_finding("lr_too_high", divergence_lr=0.5)
    assert remedies_for(finding, recipe, IMAGES)[0].settings == {"optim.lr": 0.1}


def test_nothing_wrong_gives_a_short_generic_list() -> None:
    for spec, model in ((IMAGES, "lenet"), (IMAGES, "convnet"), (TABLE, "mlp"), (TABLE, "linear")):
        recipe = complete({"model.name": model}, spec)
        ranked = rank_remedies(Diagnosis(), recipe, spec)
        assert 1 <= len(ranked) <= 4
        assert ranked == rank_remedies([], recipe, spec)
    names = [r.name for r in rank_remedies([], complete({"model.name": "lenet"}, IMAGES), IMAGES)]
    assert names[0] == "model.width: 6 -> 12" and "convnet" in names[1]


def test_another_family_brings_its_own_size() -> None:
    recipe = complete({"model.name": "lenet", "model.activation": "tanh"}, IMAGES)
    found = settings_of(remedies_for(a_finding("underfitting"), recipe, IMAGES))
    edit = next(e for e in found if "model.name" in e)
    better = edited(recipe, edit, IMAGES)
    assert better["model.width"] == 32 and better["model.norm"] == "batch"
    assert better["model.activation"] == "tanh"  # what the user chose, and the new model has, stays
    linear = complete({"model.name": "linear"}, TABLE)
    found = settings_of(remedies_for(a_finding("underfitting"), linear, TABLE))
    assert edited(linear, found[0], TABLE)["model.width"] == 256


def edits_of(name: str, model: str, finding: str = "underfitting", **settings: Any) -> list[Any]:
    recipe = complete(
        {"model.name": model, **{f"model.{k}": v for k, v in settings.items()}}, IMAGES
    )
    edits = REMEDIES[name](recipe, IMAGES, a_finding(finding))
    for edit in edits:
        edited(recipe, edit, IMAGES)  # validates
    return edits


@pytest.mark.parametrize(
    ("model", "rates", "last"),
    [
        ("mlp", [0.2, 0.5], "head"),
        ("lenet", [0.2, 0.5], "head"),
        ("convnet", [0.1, 0.2, 0.5], "head"),
        ("vit", [0.0, 0.1, 0.1, 0.1, 0.1, 0.2], "heads"),
    ],
)
def test_what_is_set_by_layer_fits_the_layers_of_every_edit(
    model: str, rates: list[float], last: str
) -> None:
    """Every edited recipe builds: its lists have an entry for each place there is, its rules match."""
    rules = ["xavier_uniform", f"{last}=zeros"]
    settings = {"model.name": model, "model.dropout": rates, "model.init": rules}
    recipe = complete(settings, IMAGES)
    tried = set()
    for name in ("wider", "deeper", "other_family"):
        for edit in REMEDIES[name](recipe, IMAGES, a_finding("underfitting")):
            build_model(edited(recipe, edit, IMAGES), IMAGES)
            tried.add(name)
    assert {"wider", "deeper"} <= tried and ("other_family" in tried) == (model != "vit")


@pytest.mark.parametrize(
    ("model", "depths"),
    [
        ("resnet", (18, 34, 50, 101, 152)),
        ("resnet", (20, 32, 44, 56, 110)),  # three stages: never on to one of four
        ("vgg", (11, 13, 16, 19)),
        ("densenet", (22, 40, 100, 121, 169, 201)),
        ("vit", (6, 7)),
        ("convnet", (2, 3)),
    ],
)
def test_deeper_takes_the_familys_next_depth(model: str, depths: tuple[int, ...]) -> None:
    for depth, following in itertools.pairwise(depths):
        assert edits_of("deeper", model, depth=depth) == [{"model.depth": following}]
    if model not in ("vit", "convnet"):
        assert edits_of("deeper", model, depth=depths[-1]) == []


def test_width_of_a_densenet_is_its_growth() -> None:
    assert edits_of("wider", "densenet", growth=12) == [{"model.growth": 24}]
    assert edits_of("narrower", "densenet", growth=12) == [{"model.growth": 6}]
    assert edits_of("wider", "resnet") == [{"model.width": 128}]


def test_without_a_hidden_layer_nothing_is_wider() -> None:
    texts = Spec("text", "classification", (9,), classes=("bad", "good"))
    for depth in (0, 1):
        recipe = complete({"model.name": "bag_of_words", "model.depth": depth}, texts)
        for name in ("wider", "narrower"):
            edits = REMEDIES[name](recipe, texts, a_finding("underfitting"))
            assert len(list(edits)) == depth


def test_a_convnet_gives_way_to_a_small_resnet_only_where_capacity_is_short() -> None:
    small = {"model.name": "resnet", "model.depth": 20, "model.width": 16}
    assert edits_of("other_family", "convnet") == [small]
    assert edits_of("other_family", "convnet", "nothing_wrong") == []
    assert edits_of("other_family", "resnet") == []
    assert edits_of("other_family", "alexnet") == [
        {"model.name": "resnet", "model.width": 16, "model.norm": "batch"}
    ]


def test_remedies_reach_the_settings_of_every_family() -> None:
    assert edits_of("batch_norm", "alexnet") == [{"model.norm": "batch"}]
    assert edits_of("dropout", "vit") == [{"model.dropout": 0.3}]
    assert edits_of("suited_init", "nin") == [{"model.init": "he"}]
    assert edits_of("leaky_units", "googlenet")[0] == {"model.activation": "leaky_relu"}


@pytest.mark.parametrize(
    ("spec", "model", "stronger"),
    [
        (SERIES, "gru", "fcn"),
        (AHEAD, "lstm", "dlinear"),
        (AHEAD, "tcn", "dlinear"),
        (TEXTS, "lstm", "bag_of_words"),
        (TEXTS, "transformer", "bag_of_words"),
        (Spec("audio", "classification", (1, 40, 64), ("a", "b"), rate=8000), "gru", "convnet"),
    ],
)
def test_a_network_that_reads_step_by_step_gives_way_to_what_is_strong_there(
    spec: Spec, model: str, stronger: str
) -> None:
    recipe = complete({"model.name": model}, spec)
    (edit,) = REMEDIES["other_family"](recipe, spec, a_finding("no_better_than_trivial"))
    better = edited(recipe, edit, spec)
    assert better["model.name"] == stronger
    assert better.get("model.subtract") == ("last" if stronger == "dlinear" else None)
    build_model(better, spec)
    found = settings_of(remedies_for(a_finding("idle_state"), recipe, spec))
    assert any(e.get("model.name") == stronger for e in found)


def test_a_language_has_no_other_family_to_be_tried() -> None:
    language = Spec("text", "language", (16,), vocabulary=30, num_examples=500, tokens="character")
    for model in ("gru", "transformer"):
        recipe = complete({"model.name": model}, language)
        assert REMEDIES["other_family"](recipe, language, a_finding("underfitting")) == []


def test_recurrent_networks_get_gates_and_the_normalisation_that_they_have() -> None:
    elman = complete({"model.name": "rnn", "train.clip_norm": 0.0, "model.width": 32}, SERIES)
    found = settings_of(remedies_for(a_finding("exploding_gradient"), elman, SERIES))
    assert found[:2] == [{"train.clip_norm": 1.0}, {"model.name": "lstm"}]
    assert {"model.name": "gru"} in found and {"model.norm": "layer"} in found
    assert {"model.norm": "batch"} not in found
    gated = edited(elman, {"model.name": "lstm"}, SERIES)
    assert gated["model.width"] == 32 and gated["model.forget_bias"] == 1.0
    assert "model.activation" not in gated
    found = settings_of(remedies_for(a_finding("vanishing_gradient"), gated, SERIES))
    assert not any("model.name" in edit for edit in found) and {"model.norm": "layer"} in found
    assert {"model.init": "xavier_uniform"} in found  # gates are bounded
    dying = settings_of(remedies_for(a_finding("dying_relu"), elman, SERIES))
    assert not any("model.activation" in edit for edit in dying)  # its state has tanh or ReLU alone
    assert {"model.norm": "batch"} in settings_of(
        remedies_for(a_finding("exploding_gradient"), complete({"model": "mlp"}, SERIES), SERIES)
    )


def test_an_edit_that_is_half_done_is_not_listed_twice() -> None:
    recipe = complete({"model.activation": "sigmoid", "model.init": "he"}, IMAGES)
    found = settings_of(remedies_for(a_finding("vanishing_gradient"), recipe, IMAGES))
    assert found.count({"model.activation": "relu"}) == 1


def test_shared_edits_are_listed_once_and_name_both_findings() -> None:
    recipe = complete({"optim.lr": 0.3}, IMAGES)
    found = [a_finding("lr_too_high"), a_finding("dying_relu")]
    ranked = rank_remedies(found, recipe, IMAGES)
    assert ranked[0].name == "optim.lr: 0.3 -> 0.1"
    assert "lr_too_high" in ranked[0].why and "dying_relu" in ranked[0].why
    assert len(rank_remedies(found, recipe, IMAGES, limit=3)) == 3


def test_a_users_own_model_is_not_guessed_at() -> None:
    recipe = complete({"model.name": "lenet"}, IMAGES)
    own = Recipe(
        {
            **{k: v for k, v in recipe.items() if not k.startswith("model.")},
            "model.name": "nets:tiny",
            "model.activation": "my_relu",
            "model.width": "large",
        }
    )
    for name in RULES:
        for edit in settings_of(remedies_for(a_finding(name), own, IMAGES)):
            assert not any(key.startswith("model.") for key in edit)


def test_without_a_recipe_there_is_advice() -> None:
    [remedy] = remedies_for(a_finding("dying_relu"), None, None)
    assert remedy.advice and not remedy.settings
    diagnosis = with_remedies(Diagnosis([a_finding("dying_relu")]))
    assert diagnosis.findings[0].remedies == (remedy,)
    recipe = complete({}, IMAGES)
    edits = with_remedies(Diagnosis([a_finding("dying_relu")]), recipe, IMAGES).findings[0].remedies
    assert all(r.settings for r in edits)


def with_candidate(candidate: str, spec: Spec = IMAGES, **settings: Any) -> Recipe:
    return complete({"model.name": "lenet", "model.candidate": candidate, **settings}, spec)


def test_a_pretrained_candidate_is_one_edit_and_leads() -> None:
    recipe = with_candidate("torchvision:squeezenet1_0=weights.npz")
    for finding in ("overfitting", "underfitting", "no_better_than_trivial"):
        first = remedies_for(a_finding(finding), recipe, IMAGES)[0]
        assert first.settings["model.name"] == "torchvision:squeezenet1_0"
        assert first.settings["model.pretrained"] == "weights.npz"
        assert first.name == (
            "model.name: lenet -> torchvision:squeezenet1_0, model.pretrained: none -> weights.npz"
        )
    ranked = rank_remedies(Diagnosis([], []), recipe, IMAGES)
    assert ranked[0].settings["model.pretrained"] == "weights.npz"
    changed = edited(recipe, ranked[0].settings, IMAGES)
    tuning = fine_tuning("sgd", "cross_entropy", images=True, examples=IMAGES.num_examples)
    assert {name: changed[name] for name in tuning} == tuning
    assert not {"model.width", "model.pool"} & set(changed)  # the old network's
    assert changed["model.candidate"] == recipe["model.candidate"]


@pytest.mark.parametrize("weights", ["/data/of/mine/weights.npz", "runs/weights.npz/"])
def test_fine_tuning_is_called_by_the_file_of_its_weights(weights: str) -> None:
    recipe = with_candidate(f"lenet={weights}")
    (edit,) = REMEDIES["pretrained"](recipe, IMAGES, a_finding("overfitting"))
    assert name_of(edit, recipe) == "model.pretrained: none -> weights.npz"


def test_nothing_that_pretrained_weights_would_not_fit_is_tried() -> None:
    recipe = complete({"model.name": "convnet", "model.pretrained": "weights.npz"}, IMAGES)
    edits = [r.settings for name in FOR for r in remedies_for(a_finding(name), recipe, IMAGES)]
    edits += [r.settings for r in rank_remedies(Diagnosis([], []), recipe, IMAGES)]
    changed = {name for edit in edits for name in edit if name.startswith("model.")}
    assert changed <= {"model.dropout"} and any(edits)


@pytest.mark.parametrize("candidate", ["torchvision:resnet18", "weights.npz", "=weights.npz"])
def test_a_candidate_that_names_nothing_is_said(candidate: str) -> None:
    recipe = with_candidate(candidate)
    assert not REMEDIES["pretrained"](recipe, IMAGES, a_finding("overfitting"))
    with pytest.raises(SettingError, match="must be NAME=WEIGHTS") as caught:
        candidate_recipe(recipe, IMAGES)
    assert caught.value.setting == "model.candidate"
    assert candidate_recipe(complete({}, IMAGES), IMAGES) is None
    table = complete({"model.candidate": "mlp=weights.npz"}, TABLE)
    with pytest.raises(SettingError, match="tried on images"):
        candidate_recipe(table, TABLE)


def test_the_gradient_is_clipped_where_it_was_measured() -> None:
    recipe = complete({"model.name": "mlp"}, IMAGES)
    finding = a_finding("exploding_gradient", norm_p90=3.456)
    assert {"train.clip_norm": 3.5} in settings_of(remedies_for(finding, recipe, IMAGES))
    finding = a_finding("lr_too_high")
    assert {"train.clip_norm": 1.0} in settings_of(remedies_for(finding, recipe, IMAGES))


def test_batches_grow_only_where_enough_steps_are_left() -> None:
    recipe = complete({"model.name": "mlp", "train.batch_size": 32, "optim.lr": 0.1}, IMAGES)
    finding = a_finding("oscillating")
    larger = {"train.batch_size": 128, "optim.lr": 0.2}
    for examples, tried in ((2560, True), (2559, False)):
        edits = settings_of(remedies_for(finding, recipe, replace(IMAGES, num_examples=examples)))
        assert (larger in edits) == tried


@pytest.mark.parametrize(
    ("size", "wider", "narrower"),
    [("nano", ["small"], []), ("medium", ["large"], ["small"]), ("large", [], ["medium"])],
)
def test_a_detector_has_sizes_for_widths(size: str, wider: list, narrower: list) -> None:
    recipe = complete({"model.size": size}, BOXES)
    for name, expected in (("wider", wider), ("narrower", narrower)):
        edits = REMEDIES[name](recipe, BOXES, a_finding("underfitting"))
        assert [edit["model.size"] for edit in edits] == expected


def test_a_detector_s_overfitting_is_met_by_its_own_augmentation() -> None:
    recipe = complete({}, BOXES)
    edits = settings_of(remedies_for(a_finding("overfitting"), recipe, BOXES))
    strong = next(edit for edit in edits if "augment.policy" in edit)
    assert edited(recipe, strong, BOXES)["augment.crop"] == [0.25, 1.0]
    assert {"augment.mixup": 1.5} in edits and {"augment.mosaic": 1.0} in edits
    bare = complete({"augment.policy": "none", "model.size": "small"}, BOXES)
    edits = settings_of(remedies_for(a_finding("overfitting"), bare, BOXES))
    assert {"augment.mosaic": 0.5} in edits and {"model.size": "nano"} in edits
    for edit in filter(None, edits):
        assert edited(bare, edit, BOXES) != bare
    chosen = complete({"augment.hflip": 0.1}, BOXES)  # by hand
    assert not REMEDIES["augment"](chosen, BOXES, a_finding("overfitting"))
    done = complete({"augment.mosaic": 1.0, "augment.mixup": 8.0}, BOXES)
    for name in ("mosaic", "mixup"):
        assert not REMEDIES[name](done, BOXES, a_finding("overfitting"))
        assert not REMEDIES[name](complete({}, IMAGES), IMAGES, a_finding("overfitting"))


@pytest.mark.parametrize(
    ("candidate", "model"),
    [
        ("csp=weights.npz", {}),
        ("yolo=weights.npz", {}),
        ("torchvision:resnet18=torchvision", {"model.backbone": "torchvision:resnet18"}),
    ],
)
def test_a_detector_tries_a_pretrained_backbone(candidate: str, model: dict[str, str]) -> None:
    recipe = complete({"model.candidate": candidate}, BOXES)
    (edit,) = REMEDIES["pretrained"](recipe, BOXES, a_finding("overfitting"))
    weights = candidate.partition("=")[2]
    tuned = {"train.backbone_lr": 0.1, "data.normalise": "pretrained"}
    assert edit == {**model, "model.pretrained": weights, **tuned}
    changed = edited(recipe, edit, BOXES)
    assert changed["optim.lr"] == recipe["optim.lr"] and changed["train.backbone_lr"] == 0.1
    said = [f"{k}: csp -> {v}" for k, v in model.items()]
    assert name_of(edit, recipe) == ", ".join([*said, f"model.pretrained: none -> {weights}"])
    # And nothing that the weights would not fit any more.
    later = remedies_for(a_finding("underfitting"), changed, BOXES)
    assert not any({"model.size", "model.backbone"} & r.settings.keys() for r in later)


def test_what_is_no_backbone_is_said() -> None:
    recipe = complete({"model.candidate": "resnet=weights.npz"}, BOXES)
    with pytest.raises(SettingError, match="no backbone of a detector"):
        candidate_recipe(recipe, BOXES)


def test_pictures_are_shown_larger_where_they_can_be_read_again() -> None:
    recipe = complete({"source": "things"}, BOXES)
    assert recipe["data.image_size"] == 64  # as they were read
    remedies = remedies_for(a_finding("objects_too_small"), recipe, BOXES)
    assert [r.name for r in remedies if r.settings] == [
        "data.image_size: 64 -> 96",
        "data.image_size: 64 -> 128",
    ]
    assert remedies[-1].advice
    for remedy in remedies[:2]:
        edit = dict(remedy.settings)
        assert edited(recipe, edit, BOXES)["data.image_size"] == edit["data.image_size"]
    large = complete({"source": "things", "data.image_size": 640}, BOXES)
    found = REMEDIES["larger_images"](large, BOXES, a_finding("objects_too_small"))
    assert found == [{"data.image_size": 960}]  # 1280 is too large
    assert not REMEDIES["larger_images"](complete({}, BOXES), BOXES, a_finding(""))  # in memory
    assert not REMEDIES["larger_images"](complete({}, IMAGES), IMAGES, a_finding(""))


def test_rare_boxes_get_a_focal_loss_and_wrong_ones_no_edit() -> None:
    recipe = complete({}, BOXES)
    (focal,) = remedies_for(a_finding("class_imbalance"), recipe, BOXES)
    assert focal.settings == {"loss.gamma": 2.0}
    assert edited(recipe, focal.settings, BOXES)["loss.gamma"] == 2.0
    for name in ("label_noise", "shifted_boxes"):
        (advice,) = remedies_for(a_finding(name), recipe, BOXES)
        assert not advice.settings and "boxes" in advice.advice

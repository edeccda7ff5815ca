"""From findings to variants: every edit of every finding once, as a complete recipe."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fitwell.data.options import refuse_of_other_kinds
from fitwell.errors import SettingError
from fitwell.policies import without_old
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Remedy
from fitwell.resolve import complete, own_schemas
from fitwell.settings import NAMED_SECTIONS, known
from fitwell.spec import Spec
from fitwell.trials.bench import Variant
from fitwell.trials.trial import slug_of

Proposal = tuple[Remedy, str]  # with the finding it is for


def proposals(diagnosis: Diagnosis, recipe: Recipe, spec: Spec) -> list[Proposal]:
    """The edits that the findings suggest, the most promising first."""
    from fitwell.remedies import rank_remedies, remedies_for

    found = {
        finding.name: finding.remedies or remedies_for(finding, recipe, spec)
        for finding in diagnosis.findings
    }
    ranked = rank_remedies(diagnosis.findings, recipe, spec, limit=None)
    return [(remedy, _finding_of(remedy, found)) for remedy in ranked if remedy.settings]


def _finding_of(remedy: Remedy, found: Mapping[str, Sequence[Remedy]]) -> str:
    names = [n for n, all_ in found.items() if any(r.settings == remedy.settings for r in all_)]
    return ", ".join(names)


def variants_of(
    proposed: Sequence[Proposal],
    recipe: Recipe,
    spec: Spec,
    *,
    round_number: int,
    known_recipes: Collection[Recipe] = (),
) -> tuple[list[Variant], list[str]]:
    """A variant a remedy, each recipe once; and a sentence for each remedy that cannot be tried.

    Args:
        known_recipes: recipes that were a baseline already: going back is no remedy.
    """
    variants: dict[Recipe, Variant] = {}
    names: set[str] = set()
    refused = []
    for remedy, finding in proposed:
        try:
            changed = edited(recipe, remedy.settings, spec)
        except SettingError as error:
            refused.append(f"{remedy.name} cannot be tried here: {error.message}")
            continue
        if changed == recipe or changed in known_recipes or changed in variants:
            continue
        name = remedy.name if round_number == 1 else f"{remedy.name}-round{round_number}"
        while (slug := slug_of(name)) in names or slug == "baseline":
            name += "-also"  # two names may differ in signs only, and the folders need their own
        names.add(slug)
        changes = recipe.changes(changed).items()
        edit = {key: after for key, (_, after) in changes if after is not None}
        variants[changed] = Variant(name, changed, remedy.name, edit, finding, remedy.name)
    return list(variants.values()), refused


def edited(recipe: Recipe, settings: Mapping[str, Any], spec: Spec) -> Recipe:
    """`recipe` with an edit, complete again.

    Where the edit names another optimizer, model ..., settings that this one does not have are left
    out, and what it has besides gets its default. A learning rate means another thing to another
    optimizer, so it is not carried over.

    Raises:
        SettingError: the edit does not suit the recipe.
    """
    values: dict[str, Any] = {**without_old(recipe, settings), **settings}
    for section in NAMED_SECTIONS:
        name = str(values.get(f"{section}.name", ""))
        if name == recipe.get(f"{section}.name"):
            continue
        own = own_schemas(name) if ":" in name else known()[section].get(name)
        if own is None:
            continue
        for key in recipe.section(section):
            dotted = f"{section}.{key}"
            foreign = key != "name" and key not in own
            if dotted not in settings and (foreign or dotted == "optim.lr"):
                values.pop(dotted, None)
    changed = complete(values, spec)
    refuse_of_other_kinds(changed.section("data"), spec)
    return changed


def candidate_recipe(recipe: Recipe, spec: Spec) -> Recipe | None:
    """The recipe that the remedy `pretrained` would make of this one; None without a candidate.

    Raises:
        SettingError: `model.candidate` names nothing that could be put on trial.
    """
    from fitwell.remedies import pretrained_edit

    if not recipe["model.candidate"]:
        return None
    return edited(recipe, pretrained_edit(recipe, spec), spec)

"""What holds the fit back: penalties, dropout, smoothed labels, images changed at random."""

from fitwell.policies import POLICIES, SETTING, of_boxes, policy
from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.remedies.edits import Edit, rounded, useful
from fitwell.restraints import augmented, restraints
from fitwell.spec import Spec


def augment(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Random changes of the training images that suit their kind: light ones, then strong ones.

    Use: overfitting, on images
    Weakness: learns more slowly, so it may need more epochs; changes that alter the class harm
    Source: Simard, Steinkraus and Platt 2003, ICDAR; Krizhevsky, Sutskever and Hinton 2012, NeurIPS
    """
    before = recipe.get(SETTING)
    changed = augmented(recipe)
    usual = of_boxes(spec)  # what a detector has by default
    as_usual = bool(usual) and usual == {name: recipe[name] for name in changed}
    if before not in POLICIES or (before == "none" and changed and not as_usual):
        return []  # what was chosen by hand stays
    stronger = POLICIES[-1:] if as_usual else POLICIES[POLICIES.index(before) + 1 :]
    edits: list[Edit] = [{SETTING: name, **policy(name, spec)} for name in stronger]
    changed = [{n: v for n, v in edit.items() if recipe.get(n) != v} for edit in edits]
    return [edit for edit in changed if len(edit) > 1]  # a policy that leaves these images alone


def weight_decay(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Ten times the weight decay.

    Use: overfitting
    Weakness: too much of it underfits
    Source: Krogh and Hertz 1991, NeurIPS
    """
    decay = recipe.get("optim.weight_decay")
    if not isinstance(decay, int | float):
        return []
    return useful(recipe, [{"optim.weight_decay": rounded(min(0.1, 10 * decay or 5e-4), 2)}])


def l1(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """A penalty on absolute weights of 1e-4, or ten times the one there is.

    Use: overfitting, above all on tables with columns that do not matter
    Weakness: sgd alone has it; too much of it underfits
    Source: Tibshirani 1996, Journal of the Royal Statistical Society B 58
    """
    penalty = recipe.get("optim.l1")
    if not isinstance(penalty, int | float) or recipe.get("train.ema"):
        return []  # weights of exactly 0 have no average
    return useful(recipe, [{"optim.l1": rounded(min(0.1, 10 * penalty or 1e-4), 2)}])


def dropout(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """More dropout: 0.3, or 0.2 more.

    Use: overfitting
    Weakness: training takes longer; little with batch normalisation
    Source: Srivastava et al. 2014, JMLR 15
    """
    rate = recipe.get("model.dropout")
    if not isinstance(rate, int | float) or rate > 0.5:
        return []
    return [{"model.dropout": rounded(rate + 0.2, 2) if rate else 0.3}]


def label_smoothing(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Smooth the labels by 0.1.

    Use: overfitting; wrong labels
    Weakness: probabilities become too cautious
    Source: Szegedy et al. 2016, CVPR
    """
    if recipe.get("loss.label_smoothing") != 0:
        return []
    return [{"loss.label_smoothing": 0.1}]


def less_regularisation(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Switch dropout, weight decay, L1 and augmentation off, all together.

    Use: underfitting
    Weakness: overfits where the data are few
    Source: Geman, Bienenstock and Doursat 1992
    """
    edit: Edit = restraints(recipe)
    return [edit] if edit else []

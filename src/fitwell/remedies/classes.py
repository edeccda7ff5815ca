"""What is done about labels: rare classes count for more, wrong ones for less."""

from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.remedies.edits import Edit, useful
from fitwell.spec import Spec


def class_weights(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Let all classes count alike: each example by the inverse of how frequent its class is.

    Use: class_imbalance
    Weakness: costs accuracy on the frequent classes; a class of a few examples is learned by heart
    Source: King and Zeng 2001, Political Analysis 9
    """
    return useful(recipe, [{"loss.class_weights": "balanced"}])


def focal(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Let easy examples count for little, and with them most of the frequent classes.

    Use: class_imbalance
    Weakness: wrongly labelled examples are hard ones too
    Source: Lin et al. 2017, ICCV
    """
    if recipe.get("loss.name") == "boxes":
        return useful(recipe, [{"loss.gamma": 2.0}])
    return [{"loss.name": "focal"}] if recipe.get("loss.name") == "cross_entropy" else []


def robust_loss(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Generalised cross-entropy: an example that will not fit stops pulling.

    Use: label_noise
    Weakness: learns hard examples more slowly; needs more epochs with many classes
    Source: Zhang and Sabuncu 2018, NeurIPS
    """
    return [{"loss.name": "gce"}] if recipe.get("loss.name") == "cross_entropy" else []

"""Sources by name: four embedded in scikit-learn, three downloaded once and checked. No torch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.cifar import read_cifar
from fitwell.data.download import published_folder
from fitwell.data.idx import read_idx
from fitwell.data.labelled import Labelled
from fitwell.data.types import Data
from fitwell.spec import Column

Reader = Callable[[dict[str, Any]], Data]

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def digits(options: dict[str, Any]) -> Data:
    """1,797 handwritten digits as grey images of 8x8 pixels, 10 classes.

    Use: a first run in seconds; a good network reaches 0.98 to 0.99.
    Weakness: tiny images of few writers; it does not tell strong networks apart.
    Source: Alpaydin and Kaynak 1998, UCI; embedded in scikit-learn.

    >>> from fitwell.data import read
    >>> data = read("digits")
    >>> data.inputs.shape, data.inputs.dtype.name
    ((1797, 1, 8, 8), 'uint8')
    """
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    # 0..16 to 0..255, one to one: the pictures of the report show them as they are.
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    names = [str(i) for i in range(10)]
    return assemble(
        images, Labelled("digits", bunch.target, target="digit", classes=names), options
    )


def breast_cancer(options: dict[str, Any]) -> Data:
    """569 tumours described by 30 numbers, malignant or benign.

    Use: a small table with two classes; logistic regression reaches 0.97 to 0.98.
    Weakness: nearly linearly separable, so most remedies can show nothing.
    Source: Wolberg, Street and Mangasarian 1995, UCI; embedded in scikit-learn.

    >>> from fitwell.data import read
    >>> read("breast-cancer").spec.classes
    ('malignant', 'benign')
    """
    from sklearn.datasets import load_breast_cancer

    return _table("breast-cancer", load_breast_cancer(), options, "diagnosis")


def wine(options: dict[str, Any]) -> Data:
    """178 wines described by 13 measurements, 3 growers.

    Use: shows why inputs are standardised: the scales differ by a thousand.
    Weakness: so small that only large effects can be proved.
    Source: Forina 1991, UCI; embedded in scikit-learn.

    >>> from fitwell.data import read
    >>> read("wine").spec.input_shape
    (13,)
    """
    from sklearn.datasets import load_wine

    return _table("wine", load_wine(), options, "grower")


def diabetes(options: dict[str, Any]) -> Data:
    """442 patients described by 10 numbers; the progression of the disease a year later.

    Use: a small regression; linear regression has an RMSE of about 55.
    Weakness: noisy: no model does much better than the linear one.
    Source: Efron, Hastie, Johnstone and Tibshirani 2004; embedded in scikit-learn.

    >>> from fitwell.data import read
    >>> read("diabetes").spec.task
    'regression'
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    return _table("diabetes", bunch, options, "progression")


def fashion_mnist(options: dict[str, Any]) -> Data:
    """70,000 grey images of clothes, 28x28 pixels, 10 classes, 10,000 of them the test part.

    Use: a real measure of image networks on a CPU; `lenet` reaches 0.90, good nets 0.93 to 0.95.
    Weakness: centred, grey, no background. Downloaded once (30 MB), checked; or `data.root`.
    Source: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747.

    >>> len(FASHION_CLASSES)
    10
    """
    folder = published_folder("fashion-mnist", options["root"])
    return read_idx(folder, options, name="fashion-mnist", classes=FASHION_CLASSES)


def mnist(options: dict[str, Any]) -> Data:
    """70,000 handwritten digits, 28x28 grey pixels, 10,000 of them the test part.

    Use: the classic first task; LeNet-5 had 0.9905 in its paper, the source below.
    Weakness: nearly solved, so differences of networks drown in noise. Downloaded once (12 MB), checked;
        or `data.root`.
    Source: LeCun, Bottou, Bengio and Haffner 1998, Proceedings of the IEEE 86.

    >>> from fitwell.data.download import PUBLISHED
    >>> PUBLISHED["mnist"]  # where it is kept, below downloads in the cache
    'MNIST/raw'
    """
    digits = [str(i) for i in range(10)]
    return read_idx(
        published_folder("mnist", options["root"]), options, name="mnist", classes=digits
    )


def cifar10(options: dict[str, Any]) -> Data:
    """60,000 colour photographs, 32x32 pixels, of 10 classes, 10,000 of them the test part.

    Use: small photographs as they are; ResNet-110 had 0.9357 in its paper (He et al. 2016, CVPR).
    Weakness: takes long without an accelerator. Downloaded once (170 MB), checked; or `data.root`.
    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.

    >>> from fitwell.data.cifar import CLASSES
    >>> len(CLASSES), CLASSES[0]
    (10, 'airplane')
    """
    return read_cifar(published_folder("cifar10", options["root"]), options)


SOURCES: dict[str, Reader] = {
    "digits": digits,
    "breast-cancer": breast_cancer,
    "wine": wine,
    "diabetes": diabetes,
    "fashion-mnist": fashion_mnist,
    "mnist": mnist,
    "cifar10": cifar10,
}


def _table(name: str, bunch: Any, options: dict[str, Any], target: str) -> Data:
    names = getattr(bunch, "target_names", ())
    if not len(names) and options["task"] == "auto":
        options = {**options, "task": "regression"}
    if options["task"] == "regression":
        names = ()
    labelled = Labelled(name, bunch.target, target=target, classes=[str(n) for n in names])
    columns = tuple(Column(str(n)) for n in bunch.feature_names)
    return assemble(bunch.data.astype(np.float32), labelled, options, columns=columns)

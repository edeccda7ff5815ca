"""Eleven faulty training programs from public collections, in torch, each with its mend.

The facts (layers, initialisation, optimizer, published label) are those of `faults/cases.json` in the
shared data; rows and epochs are cut as its `measured.json` says. Where a data set is not at hand another of
the same kind stands for it: Fashion-MNIST for MNIST and CIFAR-10, drawn words for Reuters.
"""

import copy
import functools
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fitwell as fw

FASHION = Path(__file__).parents[3] / "shared" / "data" / "fashion_mnist"
Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
FOLDS = 5


@dataclass(frozen=True)
class Program:
    """A training program: everything between its data and its score.

    Args:
        causes: names of the findings that say what is wrong: the first published label first.
        data: seed -> ((x, y) to train on, (x, y) of new examples).
        scaled: inputs and targets are standardised, by those to train on.
        model, loss, optimizer: as the program has them; `optimizer` takes the model.
    """

    name: str
    causes: tuple[str, ...]
    data: Callable[[int], tuple[Pair, Pair]]
    model: Callable[[], nn.Module]
    loss: Callable[[nn.Module], Loss]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    batch: int
    epochs: int
    score: Callable[[Tensor, Tensor], float]
    mended: "Program | None" = None
    scaled: bool = False


def run(program: Program, seed: int = 0, fold: int | None = None) -> tuple[fw.Watch, float]:
    """Train it under `watch`; the record, and the score on new examples.

    Args:
        seed: of the data's rows and their order, the first weights and dropout.
        fold: of five folds of all examples, in an order by the seed, this one is new; by default those that
            the program keeps apart.
    """
    torch.manual_seed(seed)
    (x, y), (x_new, y_new) = drawn(program, seed, fold)
    model = program.model()
    loss_function, optimizer = program.loss(model), program.optimizer(model)
    order = torch.Generator().manual_seed(seed)
    with fw.watch(model, optimizer) as watch:
        for _ in range(program.epochs):
            model.train()
            for rows in torch.randperm(len(x), generator=order).split(program.batch):
                loss = loss_function(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.step(loss)
            model.eval()
            with torch.no_grad():
                watch.epoch(validation={"loss": float(loss_function(model(x_new), y_new))})
    model.eval()
    with torch.no_grad():
        return watch, program.score(model(x_new), y_new)


def drawn(program: Program, seed: int, fold: int | None = None) -> tuple[Pair, Pair]:
    (x, y), (x_new, y_new) = program.data(seed)
    if fold is not None:
        x, y = torch.cat([x, x_new]), torch.cat([y, y_new])
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        new = order.tensor_split(FOLDS)[fold]
        x_new, y_new = x[new], y[new]
        others = order[~torch.isin(order, new)]
        x, y = x[others], y[others]
    if program.scaled:
        x, x_new = (x - x.mean()) / x.std(), (x_new - x.mean()) / x.std()
        y, y_new = (y - y.mean()) / y.std(), (y_new - y.mean()) / y.std()
    return (x, y), (x_new, y_new)


def keras(model: nn.Module) -> nn.Module:
    """Keras' defaults: Glorot's uniform weights, biases of zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def accuracy(said: Tensor, y: Tensor) -> float:
    classes = y.argmax(1) if y.dim() == 2 and y.shape[1] > 1 else y
    if said.shape[1] == 1:
        return float(((said > 0.5) == (classes > 0.5)).float().mean())
    return float((said.argmax(1) == classes).float().mean())


def r_squared(said: Tensor, y: Tensor) -> float:
    return float(1 - (said - y).square().mean() / y.var(correction=0))


# Data.


def constant_vectors(seed: int) -> tuple[Pair, Pair]:
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (20_200, 1), generator=random).float()
    x = y.expand(-1, 128).clone()
    return (x[:20_000], y[:20_000]), (x[20_000:], y[20_000:])


def fashion(
    rows: int,
    size: int,
    *,
    divide: float = 255,
    flat: bool = False,
    colour: bool = False,
    hot: bool = False,
) -> Callable[[int], tuple[Pair, Pair]]:
    def draw(seed: int) -> tuple[Pair, Pair]:
        parts = []
        for part, count in (("train", rows), ("t10k", 1000)):
            images = _bytes(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
            labels = _bytes(f"{part}-labels-idx1-ubyte.gz", 8)
            chosen = np.random.default_rng(seed).permutation(len(images))[:count]
            x = torch.from_numpy(images[chosen]).float()[:, None] / divide
            if size != 28:
                x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
            x = x.expand(-1, 3, -1, -1) if colour else x
            y = torch.from_numpy(labels[chosen]).long()
            parts.append(
                (x.flatten(1) if flat else x.contiguous(), F.one_hot(y, 10).float() if hot else y)
            )
        return parts[0], parts[1]

    return draw


@functools.cache
def _bytes(name: str, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress((FASHION / name).read_bytes()), np.uint8, offset=header)


def words(seed: int) -> tuple[Pair, Pair]:
    """46 topics, the most frequent of 2,000 words each, as rare as Zipf's law has them."""
    random = np.random.default_rng(7)
    topics = 1 / np.arange(1, 47) ** 1.3
    own = random.random((46, 2000)) < 0.03
    usual = 0.15 / np.arange(1, 2001) ** 0.7
    random = np.random.default_rng([seed, 8])
    y = random.choice(46, 7000, p=topics / topics.sum())
    chance = usual[None] + 0.25 * own[y]
    x = (random.random((7000, 2000)) < chance).astype(np.float32)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    return (x[:5900], y[:5900]), (x[5900:], y[5900:])


def parabola(seed: int) -> tuple[Pair, Pair]:
    x = torch.arange(-10, 10.05, 0.1)[:, None]
    return _parted(x, x.square() + 3, seed)


def noisy_parabola(seed: int) -> tuple[Pair, Pair]:
    x = torch.arange(0, 5, 0.1)[:, None]
    noise = torch.randn(len(x), 1, generator=torch.Generator().manual_seed(seed)) ** 3
    return _parted(x, 5 * x.square() + noise, seed)


def _parted(x: Tensor, y: Tensor, seed: int) -> tuple[Pair, Pair]:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    cut = len(x) * 3 // 4
    return (x[order[:cut]], y[order[:cut]]), (x[order[cut:]], y[order[cut:]])


# Networks.


def dense(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: keras(copy.deepcopy(nn.Sequential(*layers)))


def normal_linear(*, activation: bool) -> Callable[[], nn.Module]:
    """D4: two layers of standard normal weights; mended: Glorot's, with sigmoids."""

    def build() -> nn.Module:
        if activation:
            return keras(nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10)))
        model = nn.Sequential(nn.Linear(784, 30), nn.Linear(30, 10))
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        return model

    return build


def mnist_convolutions(*, zeros: bool = False) -> Callable[[], nn.Module]:
    """The MNIST program of the DeepCrime mutants, on 14 x 14; its softmax is the loss's."""

    def build() -> nn.Module:
        model = keras(
            nn.Sequential(
                *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
                *(
                    nn.Dropout(0.25),
                    nn.Flatten(),
                    nn.Linear(64 * 25, 128),
                    nn.ReLU(),
                    nn.Dropout(0.5),
                ),
                nn.Linear(128, 10),
            )
        )
        if zeros:
            nn.init.zeros_(model[0].weight)  # type: ignore[union-attr, arg-type]
        return model

    return build


def cifar_convolutions() -> nn.Module:
    """The CIFAR program of the DeepCrime mutants."""
    return keras(
        nn.Sequential(
            *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 128, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(128 * 4, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()),
            nn.Linear(128, 10),
        )
    )


def umlaut_convolutions(*, activation: bool) -> Callable[[], nn.Module]:
    """The second program of UMLAUT's evaluation, on 16 x 16: no activation anywhere."""

    def build() -> nn.Module:
        def act() -> list[nn.Module]:
            return [nn.ReLU()] if activation else []

        return keras(
            nn.Sequential(
                *(nn.Conv2d(3, 64, 3), *act(), nn.Conv2d(64, 64, 3), *act()),
                *(nn.MaxPool2d(2), nn.Dropout(0.2)),
                *(nn.Conv2d(64, 128, 3), *act(), nn.Conv2d(128, 128, 3), *act()),
                *(nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten()),
                *(nn.Linear(128, 128), *act(), nn.Linear(128, 128), *act(), nn.Dropout(0.2)),
                nn.Linear(128, 10),
            )
        )

    return build

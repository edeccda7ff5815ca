"""Optimizers against their published updates in float64."""

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError, validate_call
from torch import nn

from fitwell.errors import SettingError
from fitwell.optim import OPTIMIZERS, parameter_groups
from fitwell.optim.muon import orthogonalised
from fitwell.optim.sgd import sgd

STEPS = 12
Update = Iterator[np.ndarray]
# A gradient that depends on the weight, so that a wrong step shows in all that follow.
_A = np.diag([3.0, 1.0, 0.2])
_B = np.array([1.0, -2.0, 0.5])
START = np.array([1.0, -1.0, 2.0])


def gradient(w: np.ndarray) -> np.ndarray:
    return _A @ w - _B


def sgd_twin(
    *, lr: float, momentum: float, nesterov: bool, weight_decay: float, l1: float = 0.0
) -> Update:
    w, v = START.copy(), None
    while True:
        g = gradient(w) + weight_decay * w
        v = g if v is None else momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v)
        t = lr * l1 / (1 - momentum)
        w = np.sign(w) * np.maximum(np.abs(w) - t, 0)
        yield w


def adam_twin(
    *, lr: float, beta1: float, beta2: float, epsilon: float, weight_decay: float, coupled: bool
) -> Update:
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2."""
    w, m, s, t = START.copy(), np.zeros(3), np.zeros(3), 0
    while True:
        t += 1
        g = gradient(w) + (weight_decay * w if coupled else 0)
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * g**2
        step = (m / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + epsilon)
        w = w - lr * step - (0 if coupled else lr * weight_decay * w)
        yield w


def rmsprop_twin(
    *, lr: float, alpha: float, momentum: float, epsilon: float, weight_decay: float
) -> Update:
    """Tieleman and Hinton 2012: an uncentred second moment."""
    w, s, v = START.copy(), np.zeros(3), np.zeros(3)
    while True:
        g = gradient(w) + weight_decay * w
        s = alpha * s + (1 - alpha) * g**2
        v = momentum * v + g / (np.sqrt(s) + epsilon)
        w = w - lr * v
        yield w


def nadam_twin(
    *,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    momentum_decay: float,
    weight_decay: float,
) -> Update:
    """Dozat 2016, algorithm 2, with its warming momentum."""
    w, m, s, t, product = START.copy(), np.zeros(3), np.zeros(3), 0, 1.0
    while True:
        t += 1
        g = gradient(w) + weight_decay * w
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product *= mu
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * g**2
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        w = w - lr * m_hat / (np.sqrt(s / (1 - beta2**t)) + epsilon)
        yield w


def adagrad_twin(*, lr: float, epsilon: float, weight_decay: float) -> Update:
    """Duchi, Hazan and Singer 2011, the diagonal form."""
    w, s = START.copy(), np.zeros(3)
    while True:
        g = gradient(w) + weight_decay * w
        s = s + g**2
        w = w - lr * g / (np.sqrt(s) + epsilon)
        yield w


def adadelta_twin(*, lr: float, rho: float, epsilon: float, weight_decay: float) -> Update:
    """Zeiler 2012, algorithm 1."""
    w, s, u = START.copy(), np.zeros(3), np.zeros(3)
    while True:
        g = gradient(w) + weight_decay * w
        s = rho * s + (1 - rho) * g**2
        step = np.sqrt(u + epsilon) / np.sqrt(s + epsilon) * g
        u = rho * u + (1 - rho) * step**2
        w = w - lr * step
        yield w


def radam_twin(
    *, lr: float, beta1: float, beta2: float, epsilon: float, weight_decay: float
) -> Update:
    """Liu et al. 2020, algorithm 2; 5 for its 4, as in the authors' code."""
    w, m, s, t = START.copy(), np.zeros(3), np.zeros(3), 0
    longest = 2 / (1 - beta2) - 1
    while True:
        t += 1
        g = gradient(w) + weight_decay * w
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        if length > 5:
            scale = np.sqrt(1 - beta2**t) / (np.sqrt(s) + epsilon)
            r = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            w = w - lr * np.sqrt(r) * m_hat * scale
        else:
            w = w - lr * m_hat
        yield w


_MOMENTS = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1}
CASES: list[tuple[str, Callable[..., Update], dict[str, Any], dict[str, Any]]] = [
    (
        "sgd",
        sgd_twin,
        {"lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
        {},
    ),
    ("sgd", sgd_twin, {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.1}, {}),
    ("sgd", sgd_twin, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {}),
    (
        "sgd",
        sgd_twin,
        {"lr": 0.1, "momentum": 0.5, "nesterov": False, "weight_decay": 0.1, "l1": 0.7},
        {},
    ),
    ("adam", adam_twin, _MOMENTS, {"coupled": True}),
    ("adamw", adam_twin, _MOMENTS, {"coupled": False}),
    ("muon", adam_twin, _MOMENTS, {"coupled": False}),  # of what is no hidden weight
    ("radam", radam_twin, _MOMENTS, {}),
    ("adagrad", adagrad_twin, {"lr": 0.3, "epsilon": 1e-3, "weight_decay": 0.1}, {}),
    (
        "adadelta",
        adadelta_twin,
        {"lr": 0.7, "rho": 0.8, "epsilon": 1e-3, "weight_decay": 0.1},
        {},
    ),
    (
        "rmsprop",
        rmsprop_twin,
        {"lr": 0.05, "alpha": 0.9, "momentum": 0.4, "epsilon": 1e-6, "weight_decay": 0.1},
        {},
    ),
    ("nadam", nadam_twin, _MOMENTS | {"momentum_decay": 0.01}, {}),
]


def _make(name: str, w: torch.Tensor, **options: Any) -> torch.optim.Optimizer:
    return OPTIMIZERS[name]([{"params": [w]}], **options)


def _step(optimizer: torch.optim.Optimizer, w: torch.Tensor) -> None:
    w.grad = torch.tensor(gradient(w.detach().numpy()), dtype=w.dtype)
    optimizer.step()


@pytest.fixture
def double() -> Iterator[None]:
    """float64 also for the scalars that an optimizer makes itself (NAdam's product of momenta)."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("name", "twin", "options", "more"), CASES)
def test_follows_the_published_update(
    name: str, twin: Callable[..., Update], options: dict[str, Any], more: dict[str, Any]
) -> None:
    w = nn.Parameter(torch.tensor(START))
    optimizer = _make(name, w, **options)
    reference = twin(**options, **more)
    for _ in range(STEPS):
        _step(optimizer, w)
        np.testing.assert_allclose(w.detach().numpy(), next(reference), rtol=1e-10, atol=1e-12)


def test_every_entry_has_a_twin() -> None:
    assert {name for name, *_ in CASES} == set(OPTIMIZERS)


class _Quadratic:
    """A hidden weight, a kernel, a head and a bias, pulled to fixed places; float64."""

    def __init__(self, name: str, **options: Any) -> None:
        random = np.random.default_rng(0)
        shapes = {"hidden": (3, 4), "kernel": (4, 2, 3, 3), "head": (2, 3), "bias": (2,)}
        self.goal = {n: torch.tensor(random.normal(size=s)) for n, s in shapes.items()}
        self.weights = {
            n: nn.Parameter(torch.tensor(random.normal(size=s))) for n, s in shapes.items()
        }
        self.optimizer = OPTIMIZERS[name](list(self.weights.values()), **options)

    def gradient(self, name: str) -> torch.Tensor:
        return (self.weights[name] - self.goal[name]).detach()

    def step(self) -> None:
        for name, weight in self.weights.items():
            weight.grad = self.gradient(name)
        self.optimizer.step()

    def values(self) -> torch.Tensor:
        return torch.cat([w.detach().flatten() for w in self.weights.values()])


def _newton_schulz(matrix: np.ndarray) -> np.ndarray:
    """Jordan et al. 2024, written out."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    return x


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["hidden", "kernel"])
def test_muon_follows_the_published_update(name: str) -> None:
    """Liu et al. 2025, equations 1 to 4, with Nesterov's momentum as Jordan et al. have it."""
    lr, momentum, decay = 0.05, 0.8, 0.1
    task = _Quadratic("muon", lr=lr, momentum=momentum, weight_decay=decay)
    w = task.weights[name].detach().flatten(1).numpy().copy()
    v = np.zeros_like(w)
    for _ in range(STEPS):
        g = task.gradient(name).flatten(1).numpy()
        v = momentum * v + g
        turned = _newton_schulz(g + momentum * v)
        w = w - lr * decay * w - lr * 0.2 * np.sqrt(max(w.shape)) * turned
        task.step()
        got = task.weights[name].detach().flatten(1).numpy()
        np.testing.assert_allclose(got, w, rtol=1e-9, atol=1e-12)


def test_muon_is_torchs_on_matrices() -> None:
    """torch iterates in bfloat16, which has three digits; a step is far longer than that."""
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    ours, theirs = _Quadratic("muon", **options), _Quadratic("sgd")
    theirs.optimizer = torch.optim.Muon(
        [theirs.weights["hidden"]], adjust_lr_fn="match_rms_adamw", **options
    )
    before = ours.weights["hidden"].detach().clone()
    for _ in range(5):
        ours.step()
        theirs.step()
    moved, expected = ((t.weights["hidden"] - before).detach() for t in (ours, theirs))
    assert (moved - expected).norm() < 0.02 * expected.norm()


def test_a_turned_matrix_has_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 8), (8, 3), (5, 5)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert ((values > 0.3) & (values < 1.3)).all()


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resumes_bit_for_bit(name: str) -> None:
    options = {"l1": 0.01} if name == "sgd" else {}
    first, second = _Quadratic(name, **options), _Quadratic(name, **options)
    for _ in range(3):
        first.step()
    for weight, other in zip(first.weights.values(), second.weights.values(), strict=True):
        other.data.copy_(weight.data)
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    for _ in range(3):
        first.step()
        second.step()
    assert torch.equal(first.values(), second.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_setting_moves_the_weights(name: str) -> None:
    changed = {
        "lr": 0.07,
        "momentum": 0.3,
        "nesterov": True,
        "weight_decay": 0.5,
        "l1": 0.3,
        "beta1": 0.5,
        "beta2": 0.6,
        "alpha": 0.6,
        "rho": 0.6,
        "epsilon": 0.1,
        "momentum_decay": 0.5,
    }

    def trained(**options: Any) -> torch.Tensor:
        task = _Quadratic(name, **options)
        for _ in range(3 if name != "radam" else 7):  # its first five leave the squares alone
            task.step()
        return task.values()

    names = [n for n in inspect.signature(OPTIMIZERS[name]).parameters if n != "groups"]
    for setting in names:
        assert not torch.equal(trained(), trained(**{setting: changed[setting]})), setting


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_minimises_a_quadratic(name: str) -> None:
    rates = {"adadelta": 100.0, "adagrad": 0.5}
    task = _Quadratic(name, lr=rates.get(name, 0.1), weight_decay=0.0)
    before = sum(task.gradient(n).square().sum() for n in task.weights)
    for _ in range(100):
        task.step()
    assert sum(task.gradient(n).square().sum() for n in task.weights) < 0.05 * before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_schedule_can_set_the_rate(name: str) -> None:
    w = nn.Parameter(torch.tensor(START))
    optimizer = _make(name, w, weight_decay=0.0)
    optimizer.param_groups[0]["lr"] = 0.0
    _step(optimizer, w)
    np.testing.assert_array_equal(w.detach().numpy(), START)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "bad", [{"lr": 0.0}, {"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -1}]
)
def test_ranges_are_in_the_signature(name: str, bad: dict[str, float]) -> None:
    checked = validate_call(config={"arbitrary_types_allowed": True})(OPTIMIZERS[name])
    with pytest.raises(ValidationError) as caught:
        checked([{"params": []}], **bad)
    assert caught.value.errors()[0]["loc"] == tuple(bad)


def test_defaults_and_where_l1_exists() -> None:
    def default(name: str, setting: str) -> Any:
        return inspect.signature(OPTIMIZERS[name]).parameters[setting].default

    rates = {n: default(n, "lr") for n in OPTIMIZERS}
    assert {n: rate for n, rate in rates.items() if rate != 1e-3} == {
        "sgd": 0.05,
        "adagrad": 0.01,
        "adadelta": 1.0,
    }
    # A penalty that Adam divides by the gradient's scale would be no l1 any more.
    assert [n for n in OPTIMIZERS if "l1" in inspect.signature(OPTIMIZERS[n]).parameters] == ["sgd"]


def test_fused_kernels_are_used_where_torch_has_them() -> None:
    w = nn.Parameter(torch.zeros(3))
    fused = {name for name in OPTIMIZERS if OPTIMIZERS[name]([w]).defaults.get("fused")}
    assert fused == {"sgd", "adagrad", "adam", "adamw", "muon"}
    for name in set(OPTIMIZERS) - fused:
        assert OPTIMIZERS[name]([w]).defaults["foreach"] is True, name


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(SettingError, match=r"optim\.nesterov") as caught:
        sgd([nn.Parameter(torch.zeros(1))], momentum=0.0, nesterov=True)
    assert caught.value.setting == "optim.nesterov"


class _Odd(nn.Module):
    """Everything that must not be decayed, beside weights; one of these is shared, one frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.first.weight
        self.slope = nn.PReLU()
        self.norm = nn.LayerNorm([2, 3])  # weights of two dimensions, in a normalisation layer
        self.attention = nn.MultiheadAttention(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_groups_decay_weights_alone() -> None:
    model = _Odd()
    decayed, free = parameter_groups(model, 0.1)
    assert decayed["names"] == [
        "first.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    ]
    assert decayed["weight_decay"] == 0.1 and free["weight_decay"] == 0.0
    listed = [*decayed["names"], *free["names"]]
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert set(listed) == trained and len(listed) == len(trained)
    by_name = dict(model.named_parameters())
    for group in (decayed, free):
        assert all(by_name[n] is p for n, p in zip(group["names"], group["params"], strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_biases_and_norms_are_never_pulled(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    options = {"l1": 0.1} if name == "sgd" else {}
    optimizer = OPTIMIZERS[name](parameter_groups(model, 0.5), weight_decay=0.5, **options)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"0.weight"}


def test_callers_groups_are_left_alone() -> None:
    groups = parameter_groups(nn.Linear(2, 2), 0.1)
    kept = [dict(g) for g in groups]
    sgd(groups, l1=0.1)
    assert [set(g) for g in groups] == [set(g) for g in kept]


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(SettingError, match="no parameter to train"):
        parameter_groups(nn.Sequential(nn.ReLU()), 0.1)


def test_parameters_without_gradient_stay() -> None:
    used, unused = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = sgd([used, unused], l1=0.5)
    used.grad = torch.zeros(2, 2)
    optimizer.step()
    assert (used < 1).all() and (unused == 1).all()


def test_decay_is_coupled_in_adam_and_apart_in_adamw() -> None:
    """With no gradient of the loss, Adam moves by lr whatever lambda is; AdamW by lr lambda w."""
    moved = {}
    for name in ("adam", "adamw"):
        w = nn.Parameter(torch.tensor([2.0]).double())
        optimizer = OPTIMIZERS[name]([{"params": [w]}], lr=0.1, weight_decay=0.01)
        w.grad = torch.zeros_like(w)
        optimizer.step()
        moved[name] = 2 - w.item()
    assert moved["adam"] == pytest.approx(0.1, rel=1e-5)
    assert moved["adamw"] == pytest.approx(0.1 * 0.01 * 2)

"""Networks, losses and rates that are ill in loops of somebody else's, each beside a healthy one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loops import mlp, rmse, table, trained
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

import fitwell as fw
from fitwell.watching.fitting import references


def test_a_schedule_that_ends_the_training_early(pictures: tuple[Tensor, ...]) -> None:
    for gamma, told in ((0.1, True), (0.95, False)):
        model = mlp()
        sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        schedule = StepLR(sgd, 1, gamma)
        found = trained(model, pictures, optimizer=sgd, schedule=schedule, epochs=12)
        assert ("a hundredth of the learning rate" in found.get("lr_too_low", "")) == told


def test_a_schedule_that_waits_for_a_plateau_ends_nothing() -> None:
    x, y = table(load_breast_cancer, 400)
    model = nn.Linear(30, 2)
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    schedule = ReduceLROnPlateau(sgd, patience=2, threshold=1e-2)
    data = (x[:400], y[:400], x[400:], y[400:])
    found = trained(model, data, optimizer=sgd, schedule=schedule, epochs=60)
    assert sgd.param_groups[0]["lr"] < 1e-3 and "lr_too_low" not in found


def test_dropout_that_leaves_nothing(pictures: tuple[Tensor, ...]) -> None:
    def dropping(share: float) -> nn.Module:
        drop = nn.Dropout(share)
        head = [nn.Linear(64, 64), nn.ReLU(), drop, nn.Linear(64, 10)]
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), drop, *head)

    found = trained(dropping(0.95), pictures)
    assert "Dropout takes up to 95%" in found["over_regularised"]
    assert "over_regularised" not in trained(dropping(0.3), pictures)


def test_targets_in_their_own_unit(numbers: tuple[Tensor, ...]) -> None:
    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(out.squeeze(-1), target)

    x, y, x_new, y_new = numbers
    large = (x, 150 + 77 * y, x_new, 150 + 77 * y_new)
    found = trained(mlp(inputs=10, outputs=1), large, loss=loss, score=rmse, epochs=15)
    assert "76.5 apart" in found["unreachable_targets"]
    assert next(iter(found)) == "unreachable_targets"
    found = trained(mlp(inputs=10, outputs=1), numbers, loss=loss, score=rmse, epochs=15)
    assert "unreachable_targets" not in found


def test_what_a_loop_learned_by_heart_and_what_it_could_not() -> None:
    """No training score is told: that of the kept examples stands for it, beside simple models."""
    x, y = table(load_breast_cancer, 400)
    noise = torch.randn(len(x), 2000, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(2030, 256), nn.ReLU(), nn.Linear(256, 2))
    x_noisy = torch.cat([x, noise], 1)
    data = (x_noisy[:120], y[:120], x_noisy[400:], y[400:])
    assert "overfitting" in trained(wide, data, epochs=30, measure=True)
    data = (x[:400], y[:400], x[400:], y[400:])
    assert "overfitting" not in trained(mlp(inputs=30, outputs=2), data, epochs=8, measure=True)


def test_simple_models_are_not_fitted_to_copies_of_what_they_predict() -> None:
    random = np.random.default_rng(0)
    table, asked = random.normal(size=(40, 5)), np.arange(40) % 2
    rows = references(np.tile(table, (4, 1)), np.tile(asked, 4), "cross_entropy")
    near = [row["held_out"] for row in rows if row["model"] == "nearest_neighbour"]
    assert len(near) == 2 and max(near) < 0.8  # there is nothing to learn but the copies
    assert references(np.tile(table[:10], (4, 1)), np.tile(asked[:10], 4), "cross_entropy") == []


def test_simple_models_are_fitted_to_one_number_or_to_classes() -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(80, 3)).astype(np.float32)
    counts = (2 * table[:, :1]).round()
    whole = references(table, counts, "mse")
    assert whole and all(row["metric"] == "rmse" for row in whole)  # whole numbers, yet no classes
    assert references(table, table, "mse") == []  # an autoencoder
    assert references(table, np.zeros(80, np.int64), "cross_entropy") == []


def test_a_loop_with_one_unit_fits_less_than_simple_models(pictures: tuple[Tensor, ...]) -> None:
    narrow = nn.Sequential(nn.Linear(64, 1), nn.ReLU(), nn.Linear(1, 10))
    found = trained(narrow, pictures, epochs=10, measure=True)
    assert "on examples it never saw" in found["underfitting"]


def test_a_loss_with_its_sign_turned(pictures: tuple[Tensor, ...]) -> None:
    found = trained(mlp(), pictures, loss=lambda out, y: -F.cross_entropy(out, y), epochs=4)
    assert next(iter(found)) == "head_loss_mismatch"
    assert "its sign is turned" in found["head_loss_mismatch"]


def test_numbers_of_classes_under_a_squared_error(pictures: tuple[Tensor, ...]) -> None:
    x, y, x_new, y_new = pictures

    def squared(out: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(out[:, 0], y.float())

    def rounded(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        with torch.no_grad():
            return {"accuracy": float((model(x)[:, 0].round() == y).float().mean())}

    def counted(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        with torch.no_grad():
            return {"rmse": float(squared(model(x), y).sqrt())}

    for score, expected in ((rounded, True), (counted, False)):
        found = trained(mlp(outputs=1), (x, y, x_new, y_new), loss=squared, score=score, epochs=6)
        assert ("numbers of 10 classes" in found.get("head_loss_mismatch", "")) == expected


def test_sigmoids_hide_the_first_layers_from_adaptive_steps_too(
    pictures: tuple[Tensor, ...],
) -> None:
    """Adam makes whole steps of what is left of a gradient, a ten millionth."""

    def deep(kind: type[nn.Module]) -> nn.Module:
        torch.manual_seed(0)
        inner = [layer for _ in range(7) for layer in (nn.Linear(64, 64), kind())]
        return nn.Sequential(nn.Linear(64, 64), kind(), *inner, nn.Linear(64, 10))

    found = trained(deep(nn.Sigmoid), pictures)
    assert next(iter(found)) == "vanishing_gradient"
    assert "vanishing_gradient" not in trained(deep(nn.Tanh), pictures)


def test_weights_that_start_sure_of_what_is_wrong(pictures: tuple[Tensor, ...]) -> None:
    model = mlp()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1)
    assert next(iter(trained(model, pictures))) == "bad_init"


@pytest.mark.parametrize("sick", ["narrow", "pulled", "slow"])
def test_a_network_that_errs_by_itself_doubts_no_labels(
    pictures: tuple[Tensor, ...], sick: str
) -> None:
    narrow = nn.Sequential(
        nn.Linear(64, 2), nn.ReLU(), nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    model = narrow if sick == "narrow" else mlp()
    penalty = 1.0 if sick == "pulled" else 0.0
    optimizer = torch.optim.Adam(model.parameters(), 1e-5 if sick == "slow" else 1e-3)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        weights = sum(p.square().sum() for p in model.parameters())
        return F.cross_entropy(out, y) + penalty * weights

    found = trained(model, pictures, loss=loss, optimizer=optimizer)
    assert found and "label_noise" not in found


def test_a_validation_loss_alone_shows_overfitting(numbers: tuple[Tensor, ...]) -> None:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(out.squeeze(-1), y)

    def loss_alone(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        with torch.no_grad():
            return {"loss": float(loss(model(x), y))}

    for epochs, expected in ((150, True), (8, False)):
        model = mlp(inputs=10, outputs=1)
        found = trained(model, numbers, loss=loss, score=loss_alone, epochs=epochs)
        assert ("validation loss has risen" in found.get("overfitting", "")) == expected
        # Of the noise of batches in a short training nothing is concluded.
        assert "lr_too_high" not in found


def test_a_rate_at_which_the_units_die(pictures: tuple[Tensor, ...]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10)),
    )
    found = trained(model, pictures, optimizer=torch.optim.SGD(model.parameters(), 3.0))
    assert next(iter(found)) == "lr_too_high"


def test_a_training_that_got_worse_doubts_no_labels(pictures: tuple[Tensor, ...]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        nn.Linear(128, 10),
    )
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Conv2d):
                layer.weight.fill_(0.1)
    assert "label_noise" not in trained(model, pictures, epochs=6)


def test_a_softmax_before_binary_cross_entropies(pictures: tuple[Tensor, ...]) -> None:
    def of_each(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy(out, F.one_hot(y, 10).float())

    for end, expected in ((nn.Softmax(1), True), (nn.Sigmoid(), False)):
        found = trained(mlp(end), pictures, loss=of_each, epochs=4)
        assert ("shares of one whole" in found.get("head_loss_mismatch", "")) == expected


@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Softmax(1)], ids=["sigmoid", "softmax"])
def test_layers_that_are_one_line_up_to_the_end(
    pictures: tuple[Tensor, ...], end: nn.Module
) -> None:
    outputs = 1 if isinstance(end, nn.Sigmoid) else 10

    def loss(out: Tensor, y: Tensor) -> Tensor:
        if outputs == 1:
            return F.binary_cross_entropy(out[:, 0], (y > 4).float())
        return F.nll_loss(out.log(), y)

    def score(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        with torch.no_grad():
            return {"loss": float(loss(model(x), y))}

    for inner, expected in (((), True), ((nn.ReLU(),), False)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32), *inner, nn.Linear(32, outputs), end)
        found = trained(model, pictures, loss=loss, score=score, epochs=6)
        assert ("linear_network" in found) == expected


def test_of_four_outputs_each_is_at_an_end() -> None:
    """The table of XOR, whose network has learned nothing yet: its sigmoid reaches all that is asked."""
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1), nn.Sigmoid())
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    with fw.watch(model, sgd) as watch:
        for _ in range(100):
            value = F.mse_loss(model(x)[:, 0], torch.tensor([0.0, 1, 1, 0]))
            sgd.zero_grad()
            value.backward()
            sgd.step()
            watch.step(value)
    assert "unreachable_targets" not in {f.name for f in watch.diagnose(show=False).findings}

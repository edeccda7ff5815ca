"""The adapters of `fitwell.watch`, with the real packages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loops import digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fitwell.errors import SettingError

pytestmark = pytest.mark.filterwarnings("ignore")


def lightning_module(*, end: bool, manual: bool = False, own_call: bool = False) -> Any:
    from lightning.pytorch import LightningModule

    class Digits(LightningModule):
        """As most are written: `self.net` is called, not the module itself, unless `own_call`."""

        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = not manual
            layers = [nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 10)]
            self.net = nn.Sequential(*layers, *([nn.Softmax(1)] if end else []))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, batch: Any, index: int) -> Tensor:
            x, y = batch
            loss = F.cross_entropy(self(x) if own_call else self.net(x), y)
            if manual:
                optimizer: Any = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            said = self.net(batch[0])
            self.log("val_loss", F.cross_entropy(said, batch[1]))
            self.log("val_acc", (said.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    return Digits()


def fit_lightning(
    module: Any, callbacks: list[Any], folder: Path, epochs: int = 3, **settings: Any
) -> None:
    from lightning.pytorch import Trainer

    x, y = digits()
    train = DataLoader(TensorDataset(x[:1200], y[:1200]), 50)
    validation = DataLoader(TensorDataset(x[1200:], y[1200:]), 200)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        default_root_dir=folder,
        **settings,
    )
    trainer.fit(module, train, validation)


@pytest.mark.parametrize("own_call", [False, True])
@pytest.mark.parametrize("manual", [False, True])
def test_a_lightning_training_is_watched_and_left_as_it_is(
    tmp_path: Path, manual: bool, own_call: bool
) -> None:
    pytest.importorskip("lightning")
    from fitwell.integrations.lightning import WatchCallback

    found = []
    for watched in (False, True):
        torch.manual_seed(0)
        module = lightning_module(end=False, manual=manual, own_call=own_call)
        watching = WatchCallback()
        torch.manual_seed(1)
        fit_lightning(module, [watching] if watched else [], tmp_path, epochs=5)
        found.append(module.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert watching.watch is not None
    run = watching.watch.run
    assert len(run.steps) == 5 * 24 and run.status == "done"
    assert run.steps[0]["loss"] > 2 > 0.5 > run.steps[-1]["loss"]
    assert [set(row["validation"]) for row in run.epochs] == [{"loss", "accuracy"}] * 5
    assert run.epochs[-1]["validation"]["accuracy"] > 0.85
    assert all(row["grad_norm"] for row in run.steps[:100])
    first = [row for row in run.probes if row["kind"] == "step" and row["step"] == 0]
    assert {row["layer"] for row in first} == {"net.0", "net.3"}
    assert all(row["grad_rms"] and row["update_ratio"] for row in first)
    assert run.scores["train"]["accuracy"] > 0.9
    assert not {f.name for f in watching.diagnose(show=False)} - {
        "slow_pipeline"
    }  # a DataLoader is slow


def test_what_is_wrong_with_a_lightning_training(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from fitwell.integrations.lightning import WatchCallback

    watching = WatchCallback(out=tmp_path / "run")
    with pytest.raises(SettingError, match="Nothing was watched yet"):
        watching.diagnose()
    fit_lightning(lightning_module(end=True), [watching], tmp_path)
    assert [f.name for f in watching.diagnose(show=False)][:1] == ["head_loss_mismatch"]
    assert "softmax" in watching.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert (tmp_path / "run" / "steps.jsonl").exists()


def test_accumulated_gradients_of_lightning_leave_the_losses_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from fitwell.integrations.lightning import WatchCallback

    watching = WatchCallback()
    module = lightning_module(end=False)
    fit_lightning(module, [watching], tmp_path, epochs=1, accumulate_grad_batches=4)
    assert watching.watch is not None
    steps = watching.watch.run.steps
    assert len(steps) == 6 and steps[0]["loss"] == pytest.approx(np.log(10), abs=0.2)
    assert [row["examples"] for row in steps] == [200] * 6


@pytest.mark.parametrize(
    ("when", "validated"),
    [
        ({"check_val_every_n_epoch": 2}, [False, True, False]),
        ({"val_check_interval": 0.5}, [True] * 6),
    ],
    ids=["every other epoch", "twice an epoch"],
)
def test_each_validation_of_lightning_is_told_once(
    tmp_path: Path, when: dict[str, Any], validated: list[bool]
) -> None:
    pytest.importorskip("lightning")
    from fitwell.integrations.lightning import WatchCallback

    watching = WatchCallback()
    fit_lightning(lightning_module(end=False), [watching], tmp_path, **when)
    assert watching.watch is not None
    epochs = watching.watch.run.epochs
    assert [row["validation"] is not None for row in epochs] == validated
    told = [row["validation"]["loss"] for row in epochs if row["validation"]]
    assert len(set(told)) == len(told) == sum(validated)
    assert sum(row["examples"] for row in epochs) == 3 * 1200


class Words(Dataset):
    """Sentences of numbers: which of two words occurs more often."""

    def __init__(self, count: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.words = random.integers(2, 20, (count, 12))
        self.labels = ((self.words == 5).sum(1) > (self.words == 9).sum(1)).astype(int)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        words = torch.tensor(self.words[index])
        return {
            "input_ids": words,
            "attention_mask": torch.ones_like(words),
            "labels": int(self.labels[index]),
        }


def bert() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config)


def train_bert(model: Any, folder: Path, callbacks: list[Any], **settings: Any) -> None:
    from transformers import Trainer, TrainingArguments

    settings = {"eval_strategy": "epoch", **settings}
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=16,
        learning_rate=settings.pop("learning_rate", 3e-3),
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
        **settings,
    )

    def scores(found: Any) -> dict[str, float]:
        return {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())}

    Trainer(
        model,
        arguments,
        train_dataset=Words(256, 0),
        eval_dataset=Words(64, 1),
        compute_metrics=scores,
        callbacks=callbacks,
    ).train()


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_training_of_hugging_face_is_watched_and_left_as_it_is(
    tmp_path: Path, accumulated: int
) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from fitwell.integrations.transformers import WatchCallback

    found = []
    for watched in (False, True):
        model, watching = bert(), WatchCallback()
        callbacks = [watching] if watched else []
        train_bert(model, tmp_path, callbacks, gradient_accumulation_steps=accumulated)
        found.append(model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert watching.watch is not None
    run = watching.watch.run
    assert len(run.steps) == 2 * 16 // accumulated and run.status == "done"
    assert all(0 < row["loss"] < 3 and row["grad_norm"] for row in run.steps)
    assert [row["epoch"] for row in run.epochs] == [0, 1]
    assert all({"loss", "accuracy"} <= set(row["validation"]) for row in run.epochs)
    layers = {row["layer"] for row in run.probes if row["kind"] == "step"}
    assert {"classifier", "bert.encoder.layer.1.output.dense"} <= layers
    (outputs,) = [row for row in run.evidence if row["experiment"] == "outputs"]
    assert outputs["loss"] == "cross_entropy" and outputs["units"] == 2
    assert "accuracy" in run.scores["train"]
    watching.diagnose(show=False)


def test_evaluations_of_hugging_face_by_steps_are_told(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from fitwell.integrations.transformers import WatchCallback

    watching = WatchCallback()
    train_bert(bert(), tmp_path, [watching], eval_strategy="steps", eval_steps=8)
    assert watching.watch is not None
    epochs = watching.watch.run.epochs  # 16 steps each
    assert [row["examples"] for row in epochs] == [128] * 4
    assert all({"loss", "accuracy"} <= set(row["validation"]) for row in epochs)


class NextWords(Words):
    """Sentences of which each word is to be told by those before it; of some words none is."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        words = torch.tensor(self.words[index])
        labels = words.clone()
        labels[: 1 + index % 5] = -100
        return {"input_ids": words, "labels": labels}


def test_accumulated_losses_of_a_language_model_are_means(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    from fitwell.integrations.transformers import WatchCallback

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=20, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=1,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=3,  # of 8 batches: two are left over
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    watching = WatchCallback()
    Trainer(
        GPT2LMHeadModel(config),
        arguments,
        train_dataset=NextWords(128, 0),
        callbacks=[watching],
    ).train()
    assert watching.watch is not None
    losses = [row["loss"] for row in watching.watch.run.steps]
    assert len(losses) == 3 and losses == pytest.approx([np.log(20)] * 3, rel=0.15)


class Silent(nn.Module):
    """A model whose loss the Trainer computes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = bert()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        found = self.inner(input_ids=input_ids, attention_mask=attention_mask)
        return {"logits": found.logits}


def test_a_model_without_a_loss_is_told_by_the_log(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    from fitwell.integrations.transformers import WatchCallback

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return F.cross_entropy(outputs["logits"], labels)

    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=1,
        per_device_train_batch_size=16,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        label_names=["labels"],
    )
    watching = WatchCallback()
    Trainer(
        Silent(),
        arguments,
        train_dataset=Words(128, 0),
        compute_loss_func=loss,
        callbacks=[watching],
    ).train()
    assert watching.watch is not None
    losses = [row["loss"] for row in watching.watch.run.steps]
    assert len(losses) == 8 and all(0 < value < 3 for value in losses)


def test_what_is_wrong_with_a_training_of_hugging_face(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from fitwell.integrations.transformers import WatchCallback

    watching = WatchCallback()
    train_bert(bert(), tmp_path, [watching], learning_rate=1e-8)
    assert "lr_too_low" in {f.name for f in watching.diagnose(show=False)}

"""Language: tokens, chunks and streams, scores, what is counted, resume within a text, generation."""

import json
import math
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fitwell as fw
from fitwell.cli.main import run as command
from fitwell.data import read, split
from fitwell.data.preprocess import Preprocess, fit
from fitwell.data.token_batches import TokenBatches, batches_for
from fitwell.data.tokens import How, Tokens, fit_tokens, numbers_for, pieces_of
from fitwell.errors import FolderError, Interrupted, SettingError
from fitwell.experiments.markov import Markov, _stretches, language_references
from fitwell.models import build
from fitwell.nn.losses import LOSSES
from fitwell.spec import NO_WORD, RESERVED, UNKNOWN, Spec
from fitwell.tasks import TASKS, fit_of
from fitwell.train import fit as training
from fitwell.train.distributed import Processes, check_state
from fitwell.train.evaluate import evaluated
from fitwell.train.generating import next_token, pieces_of_text, tokens_of

WORDS = "the a cat dog moon sat ran looked on under at old small green and or but never".split()
TINY = {
    "model.width": 12,
    "data.context": 16,
    "train.epochs": 2,
    "train.batch_size": 8,
    "train.threads": 1,
}


def prose(lines: int = 90, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    return "\n".join(" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(lines))


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(prose())
    return path


@pytest.mark.parametrize("how", ["character", "word"])
def test_tokens_put_together_are_the_text(how: How) -> None:
    text = prose() + "\n\nIt's naïve,  isn't it?\t-- Don't!\n"
    tokens = fit_tokens([text, text], how=how, most=10_000)
    assert tokens.text(tokens.ids(text).tolist()) == text
    assert "".join(pieces_of(text, how=how, context=7)) == text
    lengths = [len(tokens.ids(piece)) for piece in pieces_of(text, how=how, context=7)]
    assert set(lengths[:-1]) == {7} and 0 < lengths[-1] <= 7
    assert tokens.size <= numbers_for(text + text, how=how, most=10_000)


def test_byte_pairs() -> None:
    pytest.importorskip("tokenizers")
    text = prose() + " naïve café 日本"
    tokens = fit_tokens([text], how="bpe", most=300)
    ids = tokens.ids(text)
    assert tokens.text(ids.tolist()) == text and RESERVED <= ids.min() and ids.max() < tokens.size
    assert len(ids) < len(text)
    pieces = pieces_of(text, how="bpe", context=24)
    assert "".join(pieces) == text
    assert max(len(piece.encode()) for piece in pieces) <= 24
    assert "".join(pieces_of_text(tokens, iter(ids.tolist()))) == text


def test_byte_pairs_without_the_library_are_refused(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(SettingError, match=r"data\.tokens = bpe: needs the tokenizers library"):
        read(book, {"tokens": "bpe"})


def test_the_vocabulary_is_of_the_training_part(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text(prose() + "ZZZZZZZZ")
    data = read(path, {"context": 16})
    rows = split.fit_rows(data, {}, 0)
    tokens = fit(data, rows.train).tokens
    assert tokens is not None and "Z" not in tokens.vocabulary
    assert data.spec.vocabulary == RESERVED + len(tokens.vocabulary) + 1
    assert tokens.ids("Z").tolist() == [UNKNOWN]
    assert (
        Preprocess.from_json(json.loads(json.dumps(fit(data, rows.train).to_json()))).tokens
        == tokens
    )


def test_parts_follow_each_other_and_folds_are_stretches(book: Path) -> None:
    data = read(book, {"context": 16})
    rows = split.fit_rows(data, {"test": 0.2}, 3)
    order = np.concatenate([rows.train, rows.validation, rows.held_out])
    assert order.tolist() == list(range(len(data))) and len(rows.held_out) == round(0.2 * len(data))
    assert not len(split.fit_rows(data, {}, 3).held_out)  # unless it is asked for
    seen = []
    for fold in range(4):
        part = split.fold_rows(data, {"folds": 4}, fold=fold, repeat=0, seed=1)
        gaps = np.flatnonzero(np.diff(part.held_out) != 1)
        assert len(gaps) <= (fold == 3)  # the last one is the end and the beginning
        assert not set(part.train) & set(part.held_out)
        seen += part.held_out.tolist()
    assert sorted(seen) == list(range(len(data)))
    assert split.fit_rows(data, {"limit": 10}, 0).train.tolist() == list(range(9))


def batches(book: Path, rows: np.ndarray | None = None, **asked: Any) -> TokenBatches:
    data = read(book, {"context": 16})
    rows = np.arange(len(data)) if rows is None else rows
    prepared = fit(data, np.arange(len(data)))
    asked = {"batch_size": 4, "context": 16, **asked}
    return TokenBatches(data.inputs, data.targets, rows, preprocess=prepared, **asked)


def read_back(made: TokenBatches, ids: torch.Tensor) -> str:
    tokens = made.preprocess.tokens
    assert tokens is not None
    return tokens.text(ids.tolist())


def test_chunks_ask_for_each_token_once_and_show_those_before(book: Path) -> None:
    rows = np.array([0, 1, 2, 5, 6])  # two stretches
    made = batches(book, rows, shuffle=False, before=16)
    text = prose()
    found = list(made.epoch(0))
    asked = [y[y != NO_WORD] for batch in found for y in batch.y]
    assert [read_back(made, y) for y in asked] == [text[16 * r : 16 * r + 16] for r in rows]
    seen = [read_back(made, x) for batch in found for x in batch.x]
    assert seen[0] == text[:15] and seen[1] == text[:31] and seen[2] == text[15:47]
    assert seen[3] == text[80:95]  # nothing of the stretch before
    assert np.concatenate([batch.index for batch in found]).tolist() == rows.tolist()
    assert made.recorded().tolist() == [[16, 16]] * 5


def test_windows_begin_anew_each_epoch_and_stay_within_a_stretch(book: Path) -> None:
    data = read(book, {"context": 16})
    rows = np.delete(np.arange(len(data)), np.arange(20, 40))
    made, text = batches(book, rows, seed=5), prose()
    allowed = (text[: 16 * 20], text[16 * 40 :])
    starts = []
    for epoch in (0, 1):
        found = list(made.epoch(epoch))
        assert len(found) == len(made)
        for batch in found:
            assert torch.equal(batch.x[:, 1:], batch.y[:, :-1].int())
            for y in batch.y:
                assert any(read_back(made, y) in part for part in allowed)
        starts.append(sorted(read_back(made, y) for batch in found for y in batch.y))
    assert starts[0] != starts[1]
    again = [batch.x for batch in made.epoch(1, start=2)]
    assert all(torch.equal(x, b.x) for x, b in zip(again, list(made.epoch(1))[2:], strict=True))


def test_streams_go_on_where_the_batch_before_ended(book: Path) -> None:
    made = batches(book, streams=True)
    found = list(made.epoch(3))
    assert len(found) == len(made) > 5
    for stream in range(4):
        said = "".join(read_back(made, batch.y[stream]) for batch in found)
        assert said in prose() and len(said) == 16 * len(found)
    for before, after in pairwise(found):
        assert torch.equal(after.x[:, 0], before.y[:, -1].int())


class Counting(nn.Module):
    """Says that each token follows as often as it stands in a table."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*x.shape, -1)


def test_scores_are_those_of_the_whole_text(book: Path) -> None:
    made = batches(book, shuffle=False, batch_size=3)
    tokens, text = made.preprocess.tokens, prose()
    assert tokens is not None
    ids = tokens.ids(text)
    logits = torch.randn(tokens.size, generator=torch.Generator().manual_seed(0))
    task = TASKS["language"]
    found = evaluated(Counting(logits), made, task, LOSSES["cross_entropy"](), "float32")
    costs = -logits.log_softmax(0).numpy()[ids]
    assert found.scores["nats"] == pytest.approx(costs.sum() / len(text), rel=1e-5)
    assert found.scores["loss"] == pytest.approx(costs.mean(), rel=1e-5)
    assert found.scores["perplexity"] == pytest.approx(math.exp(costs.mean()), rel=1e-5)
    assert found.scores["token_accuracy"] == pytest.approx(np.mean(ids == int(logits.argmax())))
    assert found.loss == pytest.approx(
        [costs[i : i + 16].mean() for i in range(0, len(ids), 16)], rel=1e-5
    )


def test_what_is_not_asked_costs_nothing() -> None:
    outputs = torch.randn(2, 5, 7)
    target = torch.tensor([[0, 0, 3, 4, 6], [1, 2, 3, 4, 5]])
    loss = LOSSES["cross_entropy"]()
    own = -outputs.log_softmax(2).gather(2, target[..., None])[..., 0]
    expected = torch.stack([own[0, 2:].mean(), own[1].mean()])
    torch.testing.assert_close(loss(outputs, target), expected)
    assert fit_of(TASKS["language"], nn.functional.one_hot(target).numpy(), target.numpy()) == 1.0


def test_counting_gives_a_distribution_and_follows_its_formula() -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(2, 5, 200)
    model = Markov(2, 5, train)
    total = sum(math.exp(-model.costs(np.array([3, 2, token]))[-1]) for token in range(5))
    assert total == pytest.approx(1.0)

    def naive(context: tuple[int, ...], token: int) -> float:
        if not context:
            below, behind = 1 / 5, train
        else:
            below, k = naive(context[1:], token), len(context)
            places = [i for i in range(k, 200) if tuple(train[i - k : i]) == context]
            behind = train[places]
        if not len(behind):
            return below
        kinds = len(set(behind.tolist()))
        return ((behind == token).sum() + kinds * below) / (len(behind) + kinds)

    assert math.exp(-model.costs(np.array([3, 2, 4]))[-1]) == pytest.approx(naive((3, 2), 4))
    assert math.exp(-model.costs(np.array([1, 1, 4]))[-1]) == pytest.approx(naive((), 4))


def test_counting_is_better_the_more_it_knows(book: Path) -> None:
    data = read(book, {"context": 16})
    rows = split.fit_rows(data, {"test": 0.2}, 0)
    found = {r["model"]: r["held_out"] for r in language_references(data, rows, fold=None)}
    assert list(found) == ["uniform", "unigram", "markov"]
    assert found["uniform"] == pytest.approx(math.log(data.spec.vocabulary))
    assert found["uniform"] > found["unigram"] > found["markov"] > 0


@pytest.mark.parametrize("state", ["carried", "reset"])
def test_a_training_that_was_stopped_within_a_text_ends_the_same(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    settings = {**TINY, "train.state": state}
    whole = fw.fit(book, model="lstm", settings=settings, out=tmp_path / "whole")
    steps = len(whole.steps) // 2
    asked = 0

    @contextmanager
    def stop() -> Any:
        def ask() -> bool:
            nonlocal asked
            asked += 1
            return asked == steps + 6  # in the middle of the second epoch

        yield ask

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(training, "_stop_requested", stop)
        fw.fit(book, model="lstm", settings=settings, out=tmp_path / "cut")
    cut = fw.resume(tmp_path / "cut")
    assert isinstance(cut, fw.Run)
    expected, found = whole.model.state_dict(), cut.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert [row["loss"] for row in cut.steps] == [row["loss"] for row in whole.steps]
    assert cut.scores == whole.scores

    def written(run: fw.Run) -> list[Any]:
        return [row for row in run.evidence if row["experiment"] == "written"]

    assert written(cut) == written(whole) and len(written(cut)) == 2


def test_a_carried_state_reaches_beyond_a_chunk(book: Path) -> None:
    runs = [
        fw.fit(book, model="gru", settings={**TINY, "train.state": state}, out=book.parent / state)
        for state in ("carried", "reset")
    ]
    assert runs[0].scores["validation"] != runs[1].scores["validation"]
    assert not runs[0].model.carrying


def test_settings_that_do_not_suit(book: Path) -> None:
    for model, settings, said in (
        ("transformer", {"train.state": "carried"}, "transformer has no state"),
        ("mlp", {}, "model.name = mlp: reads numbers"),
        ("lstm", {"score.name": "accuracy"}, "does not suit language"),
        ("lstm", {"loss.name": "mse"}, "does not suit language"),
        ("lstm", {"loss.class_weights": "balanced"}, "tokens are many classes"),
        ("lstm", {"augment.word_drop": 0.1}, "augment.word_drop"),
    ):
        with pytest.raises(SettingError, match=said):
            fw.fit(book, model=model, settings={**TINY, **settings}, out=book.parent / "run")
    with pytest.raises(SettingError, match="of one process"):
        check_state(Processes(count=2), "carried")
    with pytest.raises(SettingError, match="do not follow each other"):
        fw.fit("digits", settings={"train.state": "carried"}, out=book.parent / "run")
    assert not (book.parent / "run").exists()


@pytest.mark.parametrize("tokens", ["character", "word"])
def test_fit_evaluate_and_generate(
    book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tokens: str
) -> None:
    settings = {**TINY, "data.tokens": tokens, "data.test": 0.1}
    run = fw.fit(book, model="gru", settings=settings, out=tmp_path / "run")
    assert set(run.scores["validation"]) == {"loss", "nats", "perplexity", "token_accuracy"}
    assert fw.evaluate(run)["scores"] == run.scores["test"]
    other = tmp_path / "other.txt"
    other.write_text(prose(seed=1))
    assert 0 < fw.evaluate(run, other)["scores"]["nats"] < 4
    other.write_text(3 * prose(seed=1) + "€")
    if tokens == "character":
        with pytest.warns(
            UserWarning, match=r"1 character that the training text never had: '.u20ac'"
        ):
            fw.evaluate(run, other)
    else:
        fw.evaluate(run, other)
    page = (tmp_path / "run" / "report.html").read_text()
    for heading in ("Beside simple models", "What it writes", "What surprises it most"):
        assert heading in page
    pieces: list[str] = []
    text = fw.generate(run, "the cat", length=30, seed=1, stream=pieces.append)
    assert "".join(pieces) == text and len(pieces) > 20
    assert text == fw.generate(tmp_path / "run", "the cat", length=30, seed=1)
    assert text != fw.generate(run, "the cat", length=30, seed=2)
    place = str(tmp_path / "run")
    capsys.readouterr()
    assert command(["predict", place, "--prompt", "the cat", "--length", "30", "--seed", "1"]) == 0
    assert capsys.readouterr().out == f"the cat{text}\n"
    arguments = ["predict", place, "--prompt", "the cat", "--length", "30", "--seed", "1", "--json"]
    assert command(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == [{"input": "the cat", "prediction": text, "probability": None}]


def test_a_report_without_examples_holds_no_text(book: Path, tmp_path: Path) -> None:
    run = fw.fit(book, model="gru", settings=TINY, out=tmp_path / "run", examples=False)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Beside simple models" in page and "What it writes" not in page
    assert not any(row["text"] in page for row in run.evidence if row["experiment"] == "written")


def test_prompts_and_options_that_are_wrong(book: Path, tmp_path: Path) -> None:
    run = fw.fit(book, model="gru", settings=TINY, out=tmp_path / "run")
    with pytest.raises(SettingError, match=r"--prompt: .* never had the character 'Ü'"):
        fw.generate(run, "Über the moon")
    for name, value, rule in (
        ("length", 0, "at least 1"),
        ("temperature", -1.0, "at least 0"),
        ("temperature", float("nan"), "a finite number"),
        ("top_k", 1.5, "a whole number"),
        ("top_p", 0.0, "more than 0"),
    ):
        option = name.replace("_", "-")
        with pytest.raises(SettingError, match=rf"--{option} = {value}: must be {rule}.*default"):
            fw.generate(run, "the", **{name: value})  # type: ignore[arg-type]
    classifier = fw.fit("digits", settings={"train.epochs": 1}, out=tmp_path / "digits")
    with pytest.raises(FolderError, match="no model of language"):
        fw.generate(classifier, "the")
    with pytest.raises(FolderError, match="--prompt"):
        fw.predict(run, book)


def test_tokens_are_drawn_by_their_probability() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.tensor(
        [9.0, 9.0, 0.0, math.log(2), math.log(5)]
    )  # 1/8, 2/8, 5/8 of what is drawn

    def shares(**asked: Any) -> np.ndarray:
        drawn = [next_token(logits, random, **asked) for _ in range(4000)]
        return np.bincount(drawn, minlength=5) / 4000

    assert shares() == pytest.approx([0, 0, 0.125, 0.25, 0.625], abs=0.03)
    assert shares(temperature=0.5) == pytest.approx([0, 0, 1 / 30, 4 / 30, 25 / 30], abs=0.03)
    assert shares(top_k=2) == pytest.approx([0, 0, 0, 2 / 7, 5 / 7], abs=0.03)
    assert shares(top_p=0.6) == pytest.approx([0, 0, 0, 0, 1])
    assert shares(top_p=0.7) == pytest.approx([0, 0, 0, 2 / 7, 5 / 7], abs=0.03)
    assert shares(temperature=0.0)[4] == 1
    for nearly in (1e-9, 1e-40):  # by which 9 divided is no float32
        assert shares(temperature=nearly)[4] == 1


def test_text_is_put_together_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all that was written again for each token: of a million that would never end."""
    tokens = Tokens("character", tuple("ab"))
    seen: list[int] = []
    text = Tokens.text
    monkeypatch.setattr(
        Tokens, "text", lambda self, ids: (seen.append(len(ids)), text(self, ids))[1]
    )
    assert "".join(pieces_of_text(tokens, iter([2, 3] * 50))) == "ab" * 50
    assert max(seen) == 1


def test_a_recurrent_model_writes_what_it_would_with_everything_read_again(book: Path) -> None:
    spec = Spec("text", "language", (16,), vocabulary=9, tokens="character")
    model = build("lstm", spec, {"width": 8})
    asked: dict[str, Any] = {"length": 12, "context": 16, "size": 9, "temperature": 0.0}
    written = list(tokens_of(model, [3, 4], **asked))
    read_again = [NO_WORD, 3, 4]
    for token in written:
        outputs = model(torch.tensor([read_again], dtype=torch.int32))
        assert token == RESERVED + int(outputs[0, -1, RESERVED:].argmax())
        read_again.append(token)
    assert model.state is None


@pytest.mark.slow
def test_cross_validation_and_improvement(book: Path, tmp_path: Path) -> None:
    settings = {**TINY, "data.folds": 2}
    run = fw.cv(book, model="gru", settings=settings, out=tmp_path / "cv")
    assert len(run.trials) == 2 and run.predictions["held_out"].prediction.shape[1] == 2
    assert sorted(run.predictions["held_out"].index) == list(
        range(len(read(book, {"context": 16})))
    )
    better = fw.improve(run, budget="8trials", out=tmp_path / "improve")
    assert better.recipe["data.context"] == 16 and better.baseline["validation"]["nats"] > 0


def test_a_short_chunk_is_asked_behind_as_much_as_a_window_shows(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    text = prose()[: 16 * 40 + 5]
    path.write_text(text)
    made = batches(path, shuffle=False)
    last = list(made.epoch(0))[-1]
    asked = last.y[-1][last.y[-1] != NO_WORD]
    assert read_back(made, asked) == text[-5:] and read_back(made, last.x[-1]) == text[-17:-1]


def test_windows_come_in_random_order_and_say_in_which_chunk_they_begin(tmp_path: Path) -> None:
    text = "".join(np.random.default_rng(0).choice(list("abcd efgh"), 16 * 90))
    (tmp_path / "book.txt").write_text(text)
    made = batches(tmp_path / "book.txt")
    at_a_beginning = 0
    for epoch in range(20):
        found = [
            (int(index), text.find(read_back(made, y)))
            for batch in made.epoch(epoch)
            for index, y in zip(batch.index, batch.y, strict=True)
        ]
        starts = [start for _, start in found]
        assert [index for index, _ in found] == [start // 16 for start in starts]
        assert starts != sorted(starts)
        at_a_beginning += sum(start % 16 == 0 for start in starts)
    assert at_a_beginning > 20


def test_streams_begin_elsewhere_each_epoch(book: Path) -> None:
    made = batches(book, streams=True)
    assert not torch.equal(next(made.epoch(0)).x, next(made.epoch(1)).x)


def test_a_network_with_a_state_is_evaluated_behind_a_whole_chunk(book: Path) -> None:
    data = read(book, {"context": 16})
    rows = np.arange(len(data))
    asked: dict[str, Any] = {"batch_size": 4, "preprocess": fit(data, rows), "shuffle": False}
    for carried, seen in ((False, 16), (True, 32)):
        laid_out = batches_for(data.spec, asked["preprocess"], carried=carried)
        made = laid_out(data.inputs, data.targets, rows, **asked)
        assert next(made.epoch(0)).x.shape[1] == seen


def test_the_loss_of_words_is_their_mean(book: Path) -> None:
    data = read(book, {"context": 16, "tokens": "word"})
    rows = np.arange(len(data))
    made = TokenBatches(
        data.inputs,
        data.targets,
        rows,
        batch_size=3,
        preprocess=fit(data, rows),
        shuffle=False,
        context=16,
    )
    tokens = made.preprocess.tokens
    assert tokens is not None
    logits = torch.randn(tokens.size, generator=torch.Generator().manual_seed(0))
    loss = LOSSES["cross_entropy"]()
    found = evaluated(Counting(logits), made, TASKS["language"], loss, "float32")
    costs = -logits.log_softmax(0).numpy()[tokens.ids(prose())]
    assert found.scores["loss"] == pytest.approx(costs.mean(), rel=1e-5)


def test_the_vocabulary_is_of_what_stands_most_often() -> None:
    assert fit_tokens(["abbccc"], how="character", most=2).vocabulary == ("c", "b")
    # A word that stands once teaches what an unknown one is.
    assert fit_tokens(["a cat a cat dog"], how="word", most=9).vocabulary == (" cat",)


def test_a_model_without_a_state_reads_the_last_tokens_again(book: Path) -> None:
    spec = Spec("text", "language", (8,), vocabulary=9, tokens="character")
    model = build("transformer", spec, {"width": 8})
    asked: dict[str, Any] = {"length": 20, "context": 8, "size": 9, "temperature": 0.2}
    written = list(tokens_of(model, [3, 4], seed=5, **asked))
    assert model.training  # as it was
    model.eval()
    read_again, random = [NO_WORD, 3, 4], torch.Generator().manual_seed(5)
    for token in written:
        outputs = model(torch.tensor([read_again[-8:]], dtype=torch.int32))
        assert token == next_token(outputs[0, -1], random, temperature=0.2)
        read_again.append(token)


def test_the_order_of_counting_is_chosen_on_what_was_not_counted(tmp_path: Path) -> None:
    """Of letters drawn alike more of the past tells nothing, though it is known by heart."""
    path = tmp_path / "book.txt"
    text = "".join(np.random.default_rng(0).choice(list("abcd efgh"), 4000))
    path.write_text(text)
    data = read(path, {"context": 16})
    rows = split.fit_rows(data, {"test": 0.2}, 0)
    *_, markov = language_references(data, rows, fold=None)
    assert markov["model"] == "markov" and markov["order"] == 2
    parted = _stretches(data, np.array([0, 1, 4, 5]))
    assert parted == [text[:32], text[64:96]]

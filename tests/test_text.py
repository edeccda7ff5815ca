"""Texts: read from files, tables and Python, checked, split, learnt from, augmented, predicted."""

import json
import re
import tarfile
import tracemalloc
import unicodedata
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from data_problems import named
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

import fitwell as fw
from fitwell.augment.words import AugmentWords, word_drop, word_swap
from fitwell.cli.main import run as command
from fitwell.data import BadData, check, preprocess, read, split, text_checks
from fitwell.data.batches import Batches
from fitwell.data.duplicates import near_groups
from fitwell.data.inputs import read_inputs
from fitwell.data.labelled import Labelled
from fitwell.data.preprocess import Preprocess
from fitwell.data.text_checks import near_texts
from fitwell.data.types import fingerprint
from fitwell.data.words import Words, fit_words, well_formed, words_of
from fitwell.errors import SettingError
from fitwell.experiments import reference, reference_models
from fitwell.nn.bag import BagOfWords
from fitwell.report import mistakes
from fitwell.resolve import complete
from fitwell.spec import RESERVED, Spec

GOOD = "a warm and funny film with a brilliant cast and a story that holds".split()
BAD = "a dull and tired film with a wooden cast and a plot that drags".split()


def reviews(count: int = 120, seed: int = 0) -> tuple[list[str], list[str]]:
    """Made reviews: words of either list, in random order, with some noise."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(count):
        good = i % 2 == 0
        words = [*rng.choice(GOOD if good else BAD, 12).tolist(), f"actor{rng.integers(40)}"]
        texts.append(f"{' '.join(words)} ({i})")
        labels.append("good" if good else "bad")
    return texts, labels


def as_folder(folder: Path, texts: list[str], labels: list[str]) -> Path:
    for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
        place = folder / label / f"{i:03}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return folder


# ---------------------------------------------------------------- reading


def test_a_folder_a_class(tmp_path: Path) -> None:
    texts, labels = reviews()
    data = read(as_folder(tmp_path / "films", texts, labels))
    assert data.spec.kind == "text" and data.spec.task == "classification"
    assert data.spec.classes == ("bad", "good") and data.spec.class_counts == (60, 60)
    assert data.spec.input_shape == (max(len(words_of(t)) for t in texts),)
    assert sorted(data.inputs.tolist()) == sorted(texts)
    row = data.keys.tolist().index("good/004.txt")
    assert data.inputs[row] == texts[4] and data.spec.classes[data.targets[row]] == "good"


def test_a_column_of_texts(tmp_path: Path) -> None:
    texts, labels = reviews()
    frame = pl.DataFrame({"review": texts, "sentiment": labels})
    for name in ("films.csv", "films.parquet"):
        path = tmp_path / name
        (frame.write_csv if name.endswith("csv") else frame.write_parquet)(path)
        data = read(path)
        assert data.spec.kind == "text" and data.spec.target == "sentiment"
        assert data.inputs.tolist() == texts
    swapped = read(frame.select("sentiment", "review"))  # the last column is no target
    assert swapped.spec.target == "sentiment" and swapped.inputs.tolist() == texts


def test_numbers_to_predict_and_parts_and_groups() -> None:
    texts, _ = reviews()
    stars = np.linspace(0.5, 5, len(texts))
    frame = pl.DataFrame(
        {
            "text": texts,
            "stars": stars,
            "split": ["train"] * 100 + ["test"] * 20,
            "film": [f"f{i // 4}" for i in range(len(texts))],
        }
    )
    data = read(frame, {"text": "text", "target": "stars", "group": "film"})
    assert data.spec.task == "regression" and data.targets.tolist() == pytest.approx(stars)
    assert (data.part == "test").sum() == 20 and data.groups is not None
    assert len(np.unique(data.groups)) == 30


def test_several_labels() -> None:
    texts, labels = reviews()
    tags = [f"{label};long" if i % 3 else label for i, label in enumerate(labels)]
    data = read(pl.DataFrame({"text": texts, "tags": tags}), {"task": "multilabel"})
    assert data.spec.kind == "text" and data.spec.classes == ("bad", "good", "long")
    assert data.targets.shape == (120, 3)


def test_lists_and_arrays_from_python() -> None:
    texts, labels = reviews()
    for source in ((texts, labels), (np.array(texts), np.array(labels))):
        data = read(source)
        assert data.spec.kind == "text" and data.inputs.tolist() == texts
    numbers = read((np.array([["1", "2"], ["3", "4"], ["5", "6"], ["7", "9"]]), [0, 1, 0, 1]))
    assert numbers.spec.kind == "table"


def test_an_archive_and_a_list_of_files(tmp_path: Path) -> None:
    texts, labels = reviews(40)
    folder = as_folder(tmp_path / "films", texts, labels)
    with tarfile.open(tmp_path / "films.tar.gz", "w:gz") as archive:
        archive.add(folder, "films")
    assert sorted(read(tmp_path / "films.tar.gz").inputs.tolist()) == sorted(texts)
    names = [f"films/{label}/{i:03}.txt" for i, label in enumerate(labels)]
    pl.DataFrame({"file": names, "label": labels}).write_csv(tmp_path / "list.csv")
    assert read(tmp_path / "list.csv").inputs.tolist() == texts


def test_encodings_are_told_apart_and_said(tmp_path: Path) -> None:
    texts, labels = reviews(40)
    folder = as_folder(tmp_path / "films", texts, labels)
    (folder / "good" / "latin.txt").write_bytes("très drôle".encode("cp1252"))
    (folder / "good" / "marked.txt").write_bytes("très drôle".encode("utf-8-sig"))
    (folder / "good" / "wide.txt").write_bytes("très drôle".encode("utf-16"))
    (folder / "bad" / "binary.txt").write_bytes(bytes(range(32)) * 20)
    (folder / "bad" / "empty.txt").write_text(" \n")
    data, problems = check(folder)
    assert data is not None
    rows = dict(zip(data.keys.tolist(), data.inputs.tolist(), strict=True))
    for name in ("latin", "marked", "wide"):
        assert rows[f"good/{name}.txt"] == "très drôle"
    assert named(problems, "not_utf8").where == ("good/latin.txt",)
    assert named(problems, "unreadable_files").where == ("bad/binary.txt",)
    assert named(problems, "empty_text").where == ("bad/empty.txt",)
    assert "bad/empty.txt" not in rows and len(data) == 43


def test_a_kind_that_is_open_is_asked_about(tmp_path: Path) -> None:
    from PIL import Image

    texts, labels = reviews(40)
    folder = as_folder(tmp_path / "mixed", texts, labels)
    rng = np.random.default_rng(0)
    for i in range(30):
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / labels[i] / f"{i}.png")
    with pytest.raises(
        BadData, match=r"30 images and 40 texts.*data.kind=images or data.kind=text"
    ):
        read(folder)
    assert read(folder, {"kind": "text"}).spec.kind == "text"
    assert read(folder, {"kind": "images"}, like=None).spec.kind == "images"
    (tmp_path / "few" / "cat").mkdir(parents=True)
    readme = as_folder(tmp_path / "readme", texts, labels)
    Image.new("RGB", (8, 8)).save(readme / "good" / "cover.png")  # one among 40 is no other kind
    data, problems = check(readme)
    assert data is not None and data.spec.kind == "text"
    assert named(problems, "not_texts").where == ("good/cover.png",)


def test_texts_beside_other_columns_are_asked_about() -> None:
    texts, labels = reviews()
    frame = pl.DataFrame({"text": texts, "age": range(len(texts)), "label": labels})
    with pytest.raises(BadData, match=r"data.text=text .* data.kind=table") as raised:
        read(frame)
    assert raised.value.problems[0].name == "ambiguous_kind"
    with pytest.raises(BadData, match=r"data.text=text .* data.kind=table"):
        read(frame, {"target": "label"})  # named or not, it is no input: age is left open still
    assert read(frame, {"text": "text"}).spec.kind == "text"
    table = read(frame, {"kind": "table"})
    assert table.spec.kind == "table" and [c.name for c in table.spec.columns] == ["age"]
    note = named(read(frame, {"text": "text"}).problems, "columns_ignored")
    assert note.where == ("age",)


def test_names_beside_other_columns_are_no_question() -> None:
    """Titanic has names of four words: a table all the same."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "Name": [f"Braund, Mr. Owen the {i}th" for i in range(100)],
            "Age": rng.uniform(1, 80, 100),
            "Fare": rng.uniform(1, 80, 100),
            "Survived": rng.integers(2, size=100),
        }
    )
    assert read(frame, {"target": "Survived"}).spec.kind == "table"


def test_settings_that_contradict_the_data_are_refused(tmp_path: Path) -> None:
    texts, labels = reviews()
    frame = pl.DataFrame({"text": texts, "label": labels})
    with pytest.raises(SettingError, match=r"data.kind = images"):
        read(frame, {"kind": "images"})
    with pytest.raises(SettingError, match=r"data.text = text"):
        read(frame, {"kind": "table", "text": "text"})
    with pytest.raises(BadData, match=r"no column holds texts"):
        read(pl.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), {"kind": "text"})


# ---------------------------------------------------------------- words


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.integers(1, 12))
def test_each_word_keeps_its_place(texts: list[str], length: int) -> None:
    words = fit_words(texts, most=5, length=length)
    ids = words.ids(np.array([*texts, ""], object))
    assert ids.shape == (len(texts) + 1, length) and ids.max(initial=0) < RESERVED + 5
    known = dict(enumerate(words.vocabulary, start=RESERVED))
    for row, text in zip(ids, texts, strict=False):
        said = words_of(text)[:length]
        assert [known.get(i, "?") for i in row.tolist() if i] == [
            word if word in words.vocabulary else "?" for word in said
        ]


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=60))
def test_words_of_latin_texts_are_what_they_were(text: str) -> None:
    assert words_of(text) == re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", text.lower()) or "İ" in text


@given(st.text(max_size=60))
def test_composed_and_decomposed_texts_have_the_same_words(text: str) -> None:
    composed, apart = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert words_of(composed) == words_of(apart)
    said = "".join(unicodedata.normalize("NFC", text.lower()).split())
    assert "".join(words_of(text)) == said  # nothing is lost


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("كِتَابٌ جديد", ["كِتَابٌ", "جديد"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("我喜欢iPhone手机。", ["我", "喜", "欢", "iphone", "手", "机", "。"]),
        ("か\u3099くコーヒー", ["が", "く", "コ", "ー", "ヒ", "ー"]),
        ("Cafe\u0301s l’été d'or", ["cafés", "l’été", "d'or"]),
        ("❤️👨\u200d👩", ["❤️", "👨", "\u200d", "👩"]),
        (well_formed("good \ud83d"), ["good", "\ufffd"]),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_half_characters_are_replaced_and_said(tmp_path: Path) -> None:
    texts, labels = reviews(80)
    texts[2], texts[4] = "good \ud83d", "good \ud83d\ude00"
    data, problems = check((texts, labels))
    assert data is not None and data.inputs[2] == "good \ufffd" and data.inputs[4] == "good 😀"
    assert named(problems, "half_characters").where == ("row 2", "row 4")
    assert data.fingerprint == fingerprint(data.inputs, data.targets)
    assert texts[2] == "good \ud83d"  # what was given stays as it was
    run = fw.fit((texts, labels), settings={"train.epochs": 1}, out=tmp_path / "run")
    assert run.report().read_text(encoding="utf-8")
    with pytest.warns(UserWarning, match="half of a character"):
        said = fw.predict(run, np.array(["good \ud83d"], object))
    assert said[0]["prediction"] in ("good", "bad")


def test_the_vocabulary_is_of_the_training_texts_alone() -> None:
    texts, labels = reviews()
    data = read((texts, labels))
    rows = np.arange(0, 60)
    fitted = preprocess.fit(data, rows)
    assert fitted.words is not None
    again = preprocess.fit(read((texts[:60] + ["other words"] * 60, labels)), rows)
    assert again.words is not None and again.words.vocabulary == fitted.words.vocabulary
    counts = CountVectorizer(min_df=2, tokenizer=words_of, lowercase=False, token_pattern=None)
    assert set(fitted.words.vocabulary) == set(counts.fit(texts[:60]).vocabulary_)
    assert Preprocess.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_the_vocabulary_and_the_length_are_bounded() -> None:
    texts, labels = reviews()
    data = read((texts, labels), {"vocabulary": 7, "length": 5})
    assert data.spec.input_shape == (5,) and data.spec.vocabulary == RESERVED + 7
    assert named(data.problems, "text_cut").message.startswith(
        "120 texts of which only the first 5 words are read"
    )
    fitted = preprocess.fit(data, np.arange(120))
    assert fitted.words is not None and len(fitted.words.vocabulary) == 7


def test_one_long_text_does_not_make_all_of_them_long() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(GOOD, 17)) for _ in range(2400)]
    texts[1000] = " ".join(rng.choice(BAD, 4000))
    texts[1001] = "unseen"
    data = read((texts, ["good", "bad"] * 1200))
    fitted = preprocess.fit(data, np.arange(2400))
    rows = np.arange(2399, 500, -1)  # some, and not in order
    tracemalloc.start()
    batches = Batches(data.inputs, data.targets, rows, batch_size=64, preprocess=fitted)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    tensors = [value for value in vars(batches).values() if isinstance(value, torch.Tensor)]
    assert sum(t.nbytes for t in tensors) < 2_000_000
    padded = fitted.inputs(data.inputs)
    assert padded.shape == (2400, 4000)
    for batch in batches.epoch(0):
        expected = padded[batch.index.numpy()]
        longest = (expected != 0).sum(1).max()
        assert batch.x.dtype == torch.int32
        assert np.array_equal(batch.x.numpy(), expected[:, :longest])


def test_the_words_that_simple_methods_look_for_are_the_most_frequent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts, _ = reviews(60)
    data = read((texts, ["good", "bad"] * 30))
    fitted = preprocess.fit(data, np.arange(60))
    assert fitted.words is not None
    monkeypatch.setattr(reference, "_MOST_WORDS", 7)
    found = reference.features(fitted, data.inputs)
    expected = [[word in words_of(t) for word in fitted.words.vocabulary[:7]] for t in texts]
    assert found.base is None and np.array_equal(found, np.array(expected, np.float32))


@pytest.mark.parametrize("counting", ["presence", "counts", "log_counts"])
def test_bag_of_words_is_scikit_learns(counting: Any) -> None:
    texts, _ = reviews()
    words = fit_words(texts, most=1000, length=30)
    ours = BagOfWords(RESERVED + len(words.vocabulary), counting)(
        torch.from_numpy(words.ids(np.array(texts, object)))
    ).numpy()
    vectorizer = CountVectorizer(
        vocabulary=list(words.vocabulary),
        tokenizer=words_of,
        lowercase=False,
        token_pattern=None,
        binary=counting == "presence",
    )
    counted: Any = vectorizer.transform(texts)
    theirs = counted.toarray().astype(float)
    theirs = np.log1p(theirs) if counting == "log_counts" else theirs
    theirs *= np.sqrt(128) / np.linalg.norm(theirs, axis=1, keepdims=True)
    assert np.abs(ours - theirs).max() < 1e-5


# ---------------------------------------------------------------- checks


def test_near_copies_are_those_with_the_same_rows_of_words() -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(300)]
    texts = [" ".join(rng.choice(vocabulary, 60)) for _ in range(200)]
    changed = texts[3].split()
    changed[30] = "another"  # four of 57 rows of four words: a likeness of 53 / 61
    texts += [texts[7].upper() + " !", " ".join(changed), " ".join(reversed(texts[5].split()))]

    def rows(text: str) -> set[tuple[str, ...]]:
        words = [w for w in words_of(text) if w[0].isalnum()]
        return set(zip(words, words[1:], words[2:], words[3:], strict=False))

    naive = [
        (a, b)
        for a in range(len(texts))
        for b in range(a + 1, len(texts))
        if len(rows(texts[a]) & rows(texts[b])) >= 0.8 * len(rows(texts[a]) | rows(texts[b]))
    ]
    assert naive == [(3, 201), (7, 200)]
    assert [g.tolist() for g in near_texts(np.array(texts, object))] == [list(p) for p in naive]


def test_near_copies_are_what_is_joined_by_pairs_alike() -> None:
    """Against all pairs, of texts of which copies, parts and mixtures are made."""
    rng = np.random.default_rng(1)
    vocabulary = [f"w{i}" for i in range(300)]
    texts = [" ".join(rng.choice(vocabulary, 60)) for _ in range(30)]
    texts += [f"{text} {i}" for i, text in enumerate(texts[:10])]  # like the first by far
    texts += [text.title() for text in texts[5:12]] + texts[:8]
    texts = [texts[i] for i in rng.permutation(len(texts))]
    shingles = [
        set(zip(*(text.lower().split()[k:] for k in range(4)), strict=False)) for text in texts
    ]
    group = list(range(len(texts)))
    for a, one in enumerate(shingles):
        for b, other in enumerate(shingles[:a]):
            if len(one & other) >= 0.8 * len(one | other):
                group = [group[b] if g == group[a] else g for g in group]
    members = [[i for i, g in enumerate(group) if g == own] for own in dict.fromkeys(group)]
    naive = [rows for rows in members if len({texts[i] for i in rows}) > 1]
    assert sum(map(len, naive)) > 20
    assert [g.tolist() for g in near_texts(np.array(texts, object))] == naive


@pytest.mark.parametrize("words", [8, 20, 60])
def test_many_copies_and_templates_are_compared_with_few(
    words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    jaccard, compared = text_checks._jaccard, []

    def counted(one: np.ndarray, other: np.ndarray) -> float:
        compared.append(len(one))
        return jaccard(one, other)

    monkeypatch.setattr(text_checks, "_jaccard", counted)
    rng = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(3000)]
    five = [" ".join(rng.choice(vocabulary, words)) for _ in range(5)]
    start, end = five[0].split()[: words // 2], five[0].split()[words // 2 :]
    template = [" ".join([*start, str(i), *end]) for i in range(2000)]
    assert near_texts(np.array(five * 900, object)) == []
    copied = near_texts(np.array([*five * 900, five[3].upper()], object))
    assert [g.tolist() for g in copied] == [[*range(3, 4500, 5), 4500]]  # no band is silenced
    found = near_texts(np.array(template, object))
    assert len(compared) < 50 * len(template)  # of 2,000,000 pairs
    # Four of the rows of four words hold the number: only of 60 words are they few enough.
    assert [len(g) for g in found] == ([2000] if words == 60 else [])


def test_near_copies_of_the_check_and_of_the_cleaned_copy_are_the_same_groups() -> None:
    texts, labels = reviews(40)
    alike = [f"{' '.join(GOOD)} {' '.join(BAD)} {' '.join(GOOD)} {i}" for i in range(30)]
    data, problems = check((texts + alike, labels + ["good"] * 30), {"test": 0.0})
    assert data is not None
    found = named(problems, "near_duplicate_examples")
    assert set(found.where) == {f"row {i}" for i in range(40, 70)}
    assert found.message.count(" = ") == 2  # one group, of which three are shown
    assert [g.tolist() for g in near_groups(data)] == [list(range(40, 70))]


def test_copies_conflicts_and_telling_words_are_found() -> None:
    texts, labels = reviews()
    texts[1], texts[2] = texts[0], texts[4]  # rows 0 and 1 differ in label, 2 and 4 do not
    told = [f"{text} rated{label}" for text, label in zip(texts, labels, strict=True)]
    told[1] = told[0]
    _data, problems = check((told, labels), {"test": 0.0})
    assert set(named(problems, "conflicting_labels").where) == {"row 0", "row 1"}
    assert set(named(problems, "duplicate_examples").where) == {"row 2", "row 4"}
    assert set(named(problems, "target_in_features").where) == {
        "ratedbad (bad)",
        "ratedgood (good)",
    }
    usual = [  # a word that every good text has, and a fifth of the bad: it gives nothing away
        f"{text} splendid" if label == "good" or i % 10 == 1 else text
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    for source in ((texts, labels), (usual, labels)):
        clean, none = check(source)
        assert clean is not None and "target_in_features" not in {p.name for p in none}


def test_a_cleaned_list_is_a_source_like_the_first(tmp_path: Path) -> None:
    texts, labels = reviews(40)
    texts[3] = texts[1]
    folder = as_folder(tmp_path / "films", texts, labels)
    (folder / "bad" / "empty.txt").write_text("")
    found = fw.check(str(folder), fix=True, out=tmp_path / "clean.csv")
    assert found.fixed is not None and found.fixed.kept == 39
    assert found.fixed.left_out["empty_text"] == ("bad/empty.txt",)
    again = read(tmp_path / "clean.csv")
    assert again.spec.kind == "text" and len(again) == 39 and again.spec.classes == ("bad", "good")


def test_a_group_beside_the_texts_is_found() -> None:
    """Each author writes one kind of review: a split at random tests on authors it knows."""
    texts, _ = reviews(120)
    author = [i // 6 for i in range(120)]
    labels = ["good" if a % 2 else "bad" for a in author]
    frame = pl.DataFrame({"text": ["?", *texts[1:]], "author_id": author, "label": labels})
    _, problems = check(frame.with_columns(text=pl.lit(" ") + pl.col("text")), {"text": "text"})
    assert named(problems, "group_across_split").where == ("author_id",)
    data = read(frame.with_columns(text=pl.Series(["", *texts[1:]])), {"text": "text"})
    assert data.aside["author_id"].tolist() == author[1:]  # of the rows that are kept


# ---------------------------------------------------------------- augmentation


def test_words_are_left_out_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    ids = torch.arange(2, 2002, dtype=torch.int32).repeat(50, 1)
    out = word_drop(rng, ids, word_drop=0.3)
    assert abs((out != 0).float().mean() - 0.7) < 0.01
    for row in out:
        kept = row[row != 0]
        assert (kept.diff() > 0).all() and (row[len(kept) :] == 0).all()  # in order, moved up


def test_a_text_keeps_a_word_and_an_empty_one_none() -> None:
    ids = torch.tensor([[5, 0, 0], [0, 0, 0], [6, 7, 0]], dtype=torch.int32)
    for seed in range(20):
        out = word_drop(np.random.default_rng(seed), ids, word_drop=0.99)
        assert out[0].tolist() == [5, 0, 0] and out[1].tolist() == [0, 0, 0]
        assert (out[2] != 0).sum() >= 1 and set(out[2].tolist()) <= {0, 6, 7}


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, 9))
def test_swapped_words_stay_the_same_and_near(seed: int, share: float, length: int) -> None:
    ids = torch.zeros(3, 9, dtype=torch.int32)
    ids[:, :length] = torch.arange(2, 2 + length)
    out = word_swap(np.random.default_rng(seed), ids, word_swap=share)
    assert (out.sort(1).values == ids.sort(1).values).all()
    assert (out[:, length:] == 0).all()
    moved = (out[:, :length] - ids[:, :length]).abs()
    assert moved.max() <= 1
    if not share:
        assert (moved == 0).all()


def test_swaps_are_as_many_as_asked() -> None:
    ids = torch.arange(2, 202, dtype=torch.int32).repeat(200, 1)
    out = word_swap(np.random.default_rng(0), ids, word_swap=0.25)
    assert abs((out != ids).float().mean() - 0.25) < 0.02


def test_what_happens_depends_on_seed_epoch_and_step() -> None:
    settings = complete({"augment.word_drop": 0.3}, read(reviews()).spec).section("augment")
    ids = torch.arange(2, 40, dtype=torch.int32).repeat(4, 1)
    change = AugmentWords(settings, seed=1)
    assert change and torch.equal(change(ids, 2, 3), change(ids, 2, 3))
    for other in ((AugmentWords(settings, seed=2), 2, 3), (change, 1, 3), (change, 2, 4)):
        assert not torch.equal(other[0](ids, *other[1:]), change(ids, 2, 3))


def test_changes_of_another_kind_are_refused() -> None:
    spec = read(reviews()).spec
    with pytest.raises(SettingError, match=r"hflip = 0.5: changes images, and these are texts"):
        complete({"augment.hflip": 0.5}, spec)
    table = read((np.random.default_rng(0).normal(size=(20, 2)), [0, 1] * 10)).spec
    with pytest.raises(SettingError, match=r"word_drop = 0.1: changes texts"):
        complete({"augment.word_drop": 0.1}, table)
    assert complete({"augment.policy": "strong"}, spec)["augment.word_drop"] == 0.3


def test_models_read_what_they_are_for() -> None:
    spec = read(reviews()).spec
    assert complete({}, spec)["model.name"] == "bag_of_words"
    with pytest.raises(SettingError, match=r"model.name = mlp: reads numbers.*bag_of_words"):
        complete({"model.name": "mlp"}, spec)
    table = read((np.random.default_rng(0).normal(size=(20, 2)), [0, 1] * 10)).spec
    with pytest.raises(SettingError, match=r"model.name = bag_of_words: reads texts.*mlp"):
        complete({"model.name": "bag_of_words"}, table)
    book = Spec(
        "text", "language", (9,), target="next character", vocabulary=50, tokens="character"
    )
    with pytest.raises(
        SettingError, match=r"bag_of_words: knows no order of words, .* next character.*=gru"
    ):
        complete({"model.name": "bag_of_words"}, book)


# ---------------------------------------------------------------- the main job


def test_it_learns_says_what_it_learnt_and_predicts(tmp_path: Path) -> None:
    texts, labels = reviews(200)
    folder = as_folder(tmp_path / "films", texts, labels)
    run = fw.fit(str(folder), settings={"train.epochs": 8}, out=tmp_path / "run")
    assert run.scores["test"]["accuracy"] > 0.9
    unseen = ["a brilliant and funny story, warm", "dull, wooden and tired: the plot drags"]
    (tmp_path / "one.txt").write_text(unseen[0])
    pl.DataFrame({"review": unseen, "stars": [5, 1]}).write_csv(tmp_path / "new.csv")
    assert [p["prediction"] for p in fw.predict(run, np.array(unseen))] == ["good", "bad"]
    assert fw.predict(run, tmp_path / "one.txt")[0]["prediction"] == "good"
    assert [p["prediction"] for p in fw.predict(run, tmp_path / "new.csv")] == ["good", "bad"]
    found = fw.predict(run, folder)
    assert len(found) == 200 and np.mean([labels[0] in p["input"] for p in found]) == 0.5
    again = fw.evaluate(run, source=str(folder))
    assert again["scores"]["accuracy"] > 0.95


def test_a_model_reads_the_column_that_it_was_trained_on() -> None:
    texts, labels = reviews(80)
    other = [
        f"another long text that says something about something else, number {i}" for i in range(80)
    ]
    frame = pl.DataFrame({"other": other, "review": texts, "label": labels})
    data = read(frame, {"text": "review"})
    assert [(c.name, c.kind) for c in data.spec.columns] == [("review", "text")]
    assert read_inputs(frame, data.spec).inputs.tolist() == texts
    assert read(frame, {}, like=data.spec).inputs.tolist() == texts
    with pytest.raises(BadData, match="other and review each could hold them"):
        read_inputs(frame, read((texts, labels)).spec)


def test_other_inputs_are_refused_with_what_the_model_reads(tmp_path: Path) -> None:
    spec = read(reviews()).spec
    with pytest.raises(BadData, match=r"this model reads texts"):
        read_inputs(np.zeros((3, 4)), spec)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match=r"holds no text file"):
        read_inputs(tmp_path / "empty", spec)
    (tmp_path / "b.txt").write_bytes(bytes(range(32)) * 9)
    with pytest.raises(BadData, match=r"cannot be read as text"):
        read_inputs(tmp_path / "b.txt", spec)


def test_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    texts, labels = reviews(80)
    settings = {"train.epochs": 4, "augment.word_drop": 0.2, "model.depth": 1, "model.width": 8}
    folder = as_folder(tmp_path / "films", texts, labels)
    whole = fw.fit(str(folder), settings=settings, out=tmp_path / "whole")
    again = fw.fit(str(folder), settings=settings, out=tmp_path / "again")
    assert [r["train"]["loss"] for r in whole.epochs] == [r["train"]["loss"] for r in again.epochs]
    none = fw.fit(str(folder), settings={**settings, "augment.word_drop": 0.0}, out=tmp_path / "n")
    assert whole.epochs[-1]["train"]["loss"] != none.epochs[-1]["train"]["loss"]


def test_simple_methods_are_compared_with() -> None:
    data = read(reviews(200))
    rows = split.fit_rows(data, {}, 0)
    found = {r["model"]: r for r in reference_models(data, rows, metric="accuracy")}
    assert found["linear"]["held_out"] > 0.85 and found["trivial"]["held_out"] < 0.7


def test_mistakes_are_shown_with_their_words(tmp_path: Path) -> None:
    texts, labels = reviews(120)
    labels[0], labels[2] = "bad", "bad"  # wrong on purpose
    run = fw.fit((texts, labels), settings={"train.epochs": 6}, out=tmp_path / "run")
    shown = mistakes.examples(run.predictions["test"], run.spec, run.data)
    assert all(e.cells[0][0] == "text" and e.cells[0][1] for e in shown)


def test_show_draws_the_changed_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    as_folder(tmp_path / "films", *reviews(40))
    found = fw.show("films", augment=True)["pictures"]
    assert [row["settings"]["augment.policy"] for row in found] == ["light", "strong"]
    assert Path(found[0]["path"]).read_bytes().startswith(b"\x89PNG")


def test_the_command_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = as_folder(tmp_path / "films", *reviews(60))
    assert command(["check", str(folder)]) == 0
    assert "60 texts of at most" in capsys.readouterr().out
    assert command(["check", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "text" and document["spec"]["vocabulary"] > RESERVED


def test_real_reviews(shared: Path) -> None:
    """2,000 film reviews: a tenth of them held out, in seconds."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(shared / "reviews" / "review_polarity.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        data = read(Path(folder) / "txt_sentoken", {})
    assert len(data) == 2000 and data.spec.class_counts == (1000, 1000)
    from fitwell.train import train_once

    recipe = complete({"train.epochs": 8}, data.spec)
    rows = split.fold_rows(data, recipe.section("data"), fold=0, repeat=0, seed=0)
    run = train_once(data, rows, recipe, fold=0, probes=False)
    assert run.scores["held_out"]["accuracy"] > 0.82


def test_words_go_to_json_and_back() -> None:
    words = Words(("a", "b"), 3)
    assert words.ids(np.array(["b a c a"], object)).tolist() == [[3, 2, 1]]


# ---------------------------------------------------------------- found by reading once more


def test_a_column_that_numbers_the_rows_is_no_target() -> None:
    texts, labels = reviews(120)
    frame = pl.DataFrame({"sentiment": labels, "review": texts, "id": range(120)})
    data = read(frame)
    assert data.spec.kind == "text" and data.spec.target == "sentiment"
    assert named(data.problems, "columns_ignored").where == ("id",)


def test_texts_without_a_common_word_are_refused() -> None:
    texts = [f"w{i}a w{i}b w{i}c" for i in range(60)]
    with pytest.raises(BadData, match="No word stands in two texts"):
        read((texts, [i % 2 for i in range(60)]))


def test_texts_that_end_like_file_names_are_texts(tmp_path: Path) -> None:
    texts, labels = reviews(80)
    for name, more in (("short", " and more in file.txt"), ("long", " very" * 400 + " readme.md")):
        frame = pl.DataFrame({"review": [t + more for t in texts], "label": labels})
        frame.write_csv(tmp_path / f"{name}.csv")
        assert read(tmp_path / f"{name}.csv").spec.kind == "text"
    place = as_folder(tmp_path / "films", *reviews(20))
    names = list(read(place).keys.tolist())
    listed = pl.DataFrame(
        {"file": [f"films/{n}" for n in names] + ["x " * 300], "y": [0, 1] * 10 + [1]}
    )
    listed.write_csv(tmp_path / "list.csv")
    data = read(tmp_path / "list.csv")
    assert len(data) == 20 and named(data.problems, "unnamed_file").where == ("row 21",)


def test_targets_beside_a_frame_of_texts(tmp_path: Path) -> None:
    texts, labels = reviews(80)
    frame = pl.DataFrame({"review": texts, "stars": range(80)})
    assert read((frame.select("review"), labels)).spec.kind == "text"
    data = read((frame, labels), {"text": "review"})
    assert data.spec.kind == "text" and data.inputs.tolist() == texts
    assert named(data.problems, "columns_ignored").where == ("stars",)
    run = fw.fit((texts, labels), settings={"train.epochs": 4}, out=tmp_path / "run")
    assert fw.evaluate(run, (frame, labels))["scores"]["accuracy"] > 0.9


def test_a_model_of_texts_predicts_from_whatever_holds_one(tmp_path: Path) -> None:
    run = fw.fit(reviews(120), settings={"train.epochs": 6}, out=tmp_path / "run")
    said = fw.predict(run, ["a brilliant funny warm film", "dull wooden tired plot"])
    assert [p["prediction"] for p in said] == ["good", "bad"]
    with pytest.warns(UserWarning, match="1 text without a word: row 0"):  # nor is it a folder
        assert len(fw.predict(run, ["", "a dull film"])) == 2
    for cells in (["great", "brilliant"], ["a dull film", "a dull film"], ["42", "7"]):
        pl.DataFrame({"words": cells}).write_csv(tmp_path / "new.csv")
        if cells[0] == "42":
            assert len(fw.predict(run, np.array(cells))) == 2
        else:
            assert len(fw.predict(run, tmp_path / "new.csv")) == 2


def test_prediction_lists_what_it_cannot_read(tmp_path: Path) -> None:
    spec = read(reviews()).spec
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.txt").write_text("a film")
    (tmp_path / "t" / "b.txt").write_bytes(bytes(range(32)) * 9)
    (tmp_path / "t" / "c.txt").write_text(" ")
    found = read_inputs(tmp_path / "t", spec)
    assert [key.rsplit("/", 1)[-1] for key in found.keys] == ["a.txt", "c.txt"]
    assert [w.rsplit("/", 1)[-1] for w in named(found.problems, "unreadable_files").where] == [
        "b.txt"
    ]
    assert [w.rsplit("/", 1)[-1] for w in named(found.problems, "empty_text").where] == ["c.txt"]
    pl.DataFrame({"f": ["t/a.txt", None], "n": [1, 2]}).write_csv(tmp_path / "l.csv")
    found = read_inputs(tmp_path / "l.csv", spec)
    assert len(found.keys) == 1
    assert [w.rsplit(" ", 2)[-1] for w in named(found.problems, "unnamed_file").where] == ["2"]


def test_settings_of_another_kind_are_refused() -> None:
    texts = reviews(60)
    table = (np.random.default_rng(0).normal(size=(20, 2)), [0, 1] * 10)
    for source, options, why in (
        (texts, {"text": "review"}, r"data.text = review: arrays \(X, y\) has no columns"),
        (texts, {"rate": 8000}, r"data.rate = 8000: is for recordings, and these are texts"),
        (texts, {"resize": "squash"}, r"data.resize = squash: is for images"),
        (table, {"vocabulary": 5}, r"data.vocabulary = 5: is for texts, and these are rows"),
        (table, {"length": 5}, r"data.length = 5"),
    ):
        with pytest.raises(SettingError, match=why):
            read(source, options)
    with pytest.raises(
        SettingError, match=r"data.scaling = robust: changes the columns of a table"
    ):
        complete({"data.scaling": "robust"}, read(texts).spec)


def test_what_says_that_it_is_missing_is_missing() -> None:
    texts, labels = reviews(60)
    texts[3], texts[5] = "NA", "?"
    data = read(pl.DataFrame({"review": texts, "label": labels}))
    assert len(data) == 58 and named(data.problems, "empty_text").where == ("row 3", "row 5")
    given: list[Any] = [*texts]
    given[7] = None
    assert named(read((given, labels)).problems, "empty_text").where == ("row 7",)


def test_pairs_of_texts_are_asked_about() -> None:
    texts, labels = reviews(60)
    other = [f"{text} and quite another end of it {i}" for i, text in enumerate(texts)]
    frame = pl.DataFrame({"premise": texts, "hypothesis": other, "label": labels})
    with pytest.raises(BadData, match=r"premise and hypothesis.*data.text=premise") as raised:
        read(frame, {"target": "label"})
    assert "()" not in str(raised.value)


def test_a_class_whose_texts_are_all_empty_is_said(tmp_path: Path) -> None:
    folder = as_folder(tmp_path / "films", *reviews(40))
    (folder / "so-so").mkdir()
    (folder / "so-so" / "1.txt").write_text(" ")
    assert named(read(folder).problems, "empty_class").where == ("so-so",)


def test_a_model_trained_on_files_is_judged_by_a_table(tmp_path: Path) -> None:
    texts, labels = reviews(80)
    folder = as_folder(tmp_path / "films", texts, labels)
    run = fw.fit(str(folder), settings={"train.epochs": 20}, out=tmp_path / "run")
    pl.DataFrame({"review": texts, "label": labels}).write_csv(tmp_path / "a.csv")
    assert fw.evaluate(run, str(tmp_path / "a.csv"))["scores"]["accuracy"] > 0.9


def test_numbers_beside_texts_are_numbers_however_they_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts, _ = reviews(300)
    age = rng.integers(20, 60, 300)
    frame = pl.DataFrame({"review": texts, "age": age, "label": np.where(age > 40, "old", "young")})
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        found = {p.name for p in check(tmp_path / name, {"text": "review"})[1]}
        assert "group_across_split" not in found, name


def test_all_that_is_known_of_examples_goes_with_those_left_out() -> None:
    numbers = np.arange(4)
    names = {"part": numbers.astype(str), "groups": numbers + 10, "times": numbers / 2}
    kept = np.array([True, False, True, True])
    left = Labelled("a", numbers, list("wxyz"), **names).only(kept)
    assert left.keys == ["w", "y", "z"] and left.values.tolist() == [0, 2, 3]
    for name, values in names.items():
        assert getattr(left, name).tolist() == values[kept].tolist()
    arrays = {f.name for f in fields(Labelled) if "ndarray" in str(f.type)}
    assert arrays == {"values", "keys", *names}

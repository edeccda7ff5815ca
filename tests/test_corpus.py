"""One file of text, to model its language: told from tables, read, checked, cut into chunks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_problems import named

import fitwell as fw
from fitwell.cli.main import run as command
from fitwell.data import BadData, Data, Problem, check, read
from fitwell.errors import SettingError
from fitwell.spec import Spec

WORDS = "the a cat dog moon sat ran looked on under at old small green and or but never".split()


def prose(lines: int = 900, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    return "\n".join(" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(lines))


def checked(folder: Path, text: str, name: str = "book.txt", **options: Any) -> Any:
    """(data, problems by name) of a file with this text."""
    path = folder / name
    path.write_bytes(text.encode())
    data, problems = check(path, options)
    assert data is not None and data.spec.task == "language", [p.name for p in problems]
    return data, {p.name: p for p in problems if p.name != "one_text"}


def whole(data: Data) -> str:
    """The text that the chunks are of."""
    return "".join(data.inputs.tolist())


def found(problems: dict[str, Problem], name: str) -> Problem:
    return named(tuple(problems.values()), name)


def test_a_file_of_prose_is_one_text(tmp_path: Path) -> None:
    text = prose()
    data, problems = checked(tmp_path, text)
    assert problems == {}
    count = -(-len(text) // 128)
    assert data.spec == Spec(
        "text",
        "language",
        (128,),
        target="next character",
        num_examples=count,
        vocabulary=2 + len(set(text)),
        tokens="character",
    )
    assert whole(data) == text and {len(piece) for piece in data.inputs[:-1]} == {128}
    assert data.targets.tolist() == [[len(piece)] for piece in data.inputs]
    assert data.keys.tolist() == [f"character {1 + 128 * i}" for i in range(count)]
    assert data.spec.examples == "chunks of 128 characters of one text"
    assert Spec.from_json(json.loads(json.dumps(data.spec.to_json()))) == data.spec


@pytest.mark.parametrize("name", ["a.txt", "a.text", "a.md"])
@pytest.mark.parametrize(
    "text",
    [
        "emma\nolivia\nava\n" * 5,  # a list of names
        "To be, or not to be,\nthat is the question:\nWhether 'tis nobler\n",
        "one line alone, with a comma",
        "# A page\n\nwith 3 numbers: 1, 2, 3.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "chapter 1\nit was 1984 and 5 past 12\nthe end\n",
        "गाय घर\nहै\n",
    ],
)
def test_what_is_prose(tmp_path: Path, name: str, text: str) -> None:
    assert whole(checked(tmp_path, text, name)[0]) == text


@pytest.mark.parametrize(
    "text",
    [
        "ham\tso late already\nspam\tfree, call now\nham\tok then\n" * 4,
        "height,weight,kind\n1,2,a\n3,4,b\n" * 4,
        "1;2;3\n4;5;6\n",
        "15.26 14.84 0.871 1\n14.88 14.57 0.8811 2\n" * 5,
        "5.1 3.5 1.4 0.2 setosa\n7.0 3.2 4.7 1.4 versicolor\n" * 5,
        "x y kind\n" + "5.1 3.5 1\n" * 12,
        "1\n2\n3\n",
        "a,b\n" + "1,2\n" * 30 + "1,2,3\n",  # one broken row
    ],
)
def test_what_is_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    try:
        data, _ = check(tmp_path / "a.txt")
    except SettingError:
        return
    assert data is None or data.spec.task != "language"


def test_a_table_of_few_long_lines_is_one_where_the_last_that_is_looked_at_is_cut(
    tmp_path: Path,
) -> None:
    rows = [",".join(f"{i + j:05}" for j in range(2500)) for i in range(12)]  # of 15,000 bytes
    (tmp_path / "a.txt").write_text("\n".join(rows))
    data = check(tmp_path / "a.txt", {"task": "regression"})[0]
    assert data is not None and data.spec.kind == "table"


def test_settings_say_what_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(prose(20))
    with pytest.raises(BadData):  # rows of different lengths
        read(path, {"kind": "table"})
    for options in ({"target": "kind"}, {"text": "words"}):
        _, problems = check(path, options)
        assert "one_text" not in {p.name for p in problems}
    for name, value in (("group", "g"), ("time", "t"), ("length", 5)):
        with pytest.raises(SettingError, match=rf"data\.{name} = .* is read as one text") as error:
            read(path, {name: value})
        assert error.value.setting == f"data.{name}"
    with pytest.raises(SettingError, match=r"data.task = classification"):
        read(path, {"task": "classification"})
    with pytest.raises(SettingError, match=r"data\.mels"):
        read(path, {"mels": 12})


def test_a_check_says_how_it_is_parted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "book.txt"
    path.write_text(prose())
    assert command(["check", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "chunks of 128 characters of one text, to predict the next character" in printed
    assert "test 0. In the order of the text" in printed
    with pytest.raises(BadData, match="is one text, of which no cleaned copy"):
        fw.check(path, fix=True, out=tmp_path / "clean.csv")
    assert not (tmp_path / "clean.csv").exists()


def test_a_text_of_fewer_chunks_than_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("the end of it\n" * 20)
    with pytest.raises(
        BadData, match=r"3 chunks of data\.context = 128 characters.*smaller data\.cont"
    ):
        read(path)
    assert len(read(path, {"context": 16})) == 18


def test_the_name_of_a_setting_for_one_text_says_so_elsewhere() -> None:
    with pytest.raises(SettingError, match=r"data\.context = 64: is for one text whose language"):
        read("digits", {"context": 64})


def test_a_classifier_is_not_evaluated_on_it(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text(prose())
    like = Spec("text", "classification", (9,), classes=("bad", "good"), vocabulary=9)
    with pytest.raises(BadData) as error:
        read(path, like=like)
    assert "one_text" not in {p.name for p in error.value.problems}


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_ends_of_lines_are_one_character(tmp_path: Path, end: str) -> None:
    text = prose()
    assert whole(checked(tmp_path, text.replace("\n", end))[0]) == text


def test_encodings(tmp_path: Path) -> None:
    text = prose() + " naïve café" * 20
    path = tmp_path / "book.txt"
    for encoding, guessed in (("utf-8-sig", False), ("utf-16", False), ("cp1252", True)):
        path.write_bytes(text.encode(encoding))
        data, problems = check(path)
        assert data is not None and whole(data) == text
        assert ("not_utf8" in {p.name for p in problems}) == guessed


@pytest.mark.parametrize("raw", [b" \n\t\n", bytes(range(256)) * 40])
def test_files_without_text_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "book.md"
    path.write_bytes(raw)
    with pytest.raises(BadData):
        read(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for name in ("a.txt", "a.md"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(BadData, match=f"{name} holds no text"):
            read(tmp_path / name)


def test_one_character_over_and_over_is_nothing_to_learn(tmp_path: Path) -> None:
    _, problems = checked(tmp_path, "a" * 5000)
    said = found(problems, "one_character")
    assert said.severity == "error" and "'a', over and over" in said.message


def test_words_that_are_unknown_are_said(tmp_path: Path) -> None:
    """Their nats a character do not compare with those of models that spell."""
    text = prose()
    border = len(text) * 9 // 10
    odd = text[:border] + "".join(f" new{i}" for i in range(len(text) // 70))
    _, problems = checked(tmp_path, odd, tokens="word")
    assert found(problems, "unknown_words").severity == "warning"
    assert "which" in found(problems, "unknown_words").message
    assert "unknown_words" not in checked(tmp_path, odd)[1]
    assert "unknown_words" not in checked(tmp_path, text, tokens="word")[1]


def test_short_texts_and_characters_of_which_nothing_is_learnt(tmp_path: Path) -> None:
    _, problems = checked(tmp_path, prose(20), context=32)
    assert "characters; a model" in found(problems, "short_text").message
    text = prose()
    middle = len(text) // 2
    text = text[:middle] + "Q\x00Z\ufffd\x00" + "W" * 20 + text[middle:] + "\n€ and Q\n"
    _, problems = checked(tmp_path, text)
    line = text[:middle].count("\n") + 1
    last = text.count("\n")
    assert found(problems, "unseen_characters").where == ("'\\u20ac'",)
    assert f"'\\u20ac' (line {last})" in found(problems, "unseen_characters").message
    odd = found(problems, "odd_characters")
    assert odd.where == ("'\\x00'", "'\\ufffd'") and "'\\x00' (2 times)" in odd.message
    rare = found(problems, "rare_characters")
    assert rare.where == ("'Q'", "'Z'") and f"'Q' (line {line})" in rare.message


def test_what_stands_twice_is_said_where_it_gives_the_end_away(tmp_path: Path) -> None:
    text = prose()
    licence = "the old licence stands in front of every part of the book as it must"
    _, problems = checked(tmp_path, "\n".join([licence, licence, text]))
    assert set(problems) == {"rare_characters"}
    book = "\n".join([licence, text, *[licence] * 5, "the end"])
    _, problems = checked(tmp_path, book)
    copied = found(problems, "duplicate_across_split")
    first = text.count("\n") + 3  # behind the licence and the text
    assert copied.where == tuple(f"line {first + i}" for i in range(5))
    share = 5 * len(licence) / int(0.1 * len(book))
    assert copied.message.startswith(f"{share:.0%} of the last 10%")
    short = "the end of it\n" * 40  # as anybody may write twice
    _, problems = checked(tmp_path, short + text + "\n" + short)
    assert "duplicate_across_split" not in problems


def test_tiny_shakespeare(shared: Path) -> None:
    path = shared / "tiny_shakespeare" / "input.txt"
    if not path.is_file():
        pytest.skip("needs tiny_shakespeare in shared/data")
    data, problems = check(path)
    assert isinstance(data, Data) and len(data) == -(-1_115_394 // 128)
    assert "65 different ones" in named(problems, "one_text").message
    assert named(problems, "rare_characters").where == ("'$'", "'&'")
    assert {p.severity for p in problems} == {"note"}

"""Groups and times that a split at random leaks: found where they are, silent where they are not."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_problems import named
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fitwell.data import check, read, split
from fitwell.data.columns import is_group_name
from fitwell.data.shares import explained, neighbours, told_by_neighbours, whole_groups

RNG = np.random.default_rng
LEAKS = {"group_across_split", "time_across_split", "files_across_split"}


def leaks(source: Any, **options: Any) -> set[str]:
    return {p.name for p in check(source, options)[1]} & LEAKS


def patients(seed: int = 0, *, effect: float = 2.0, task: str = "regression", n: int = 600) -> Any:
    """(patient of each row, a measurement, what is to be predicted): patients differ by `effect`."""
    rng = RNG(seed)
    patient, x = rng.integers(0, 60, n), rng.normal(size=n)
    y = effect * rng.normal(size=60)[patient] + x + 0.5 * rng.normal(size=n)
    return patient, x, y if task == "regression" else np.where(y > 0, "ill", "well")


# ---- groups


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("name", ["patient_id", "subject", "speakerName", "Kundennummer"])
@pytest.mark.parametrize("text", [True, False])
def test_patients_on_both_sides_are_found(task: str, name: str, text: bool) -> None:
    patient, x, y = patients(effect=5.0, task=task)
    numbers = RNG(7).permutation(1000)[:60]  # as they are given out
    ids = [f"p-{numbers[p]}" for p in patient] if text else numbers[patient]
    frame = pl.DataFrame({"x": x, name: ids, "y": y})
    data, problems = check(frame, {"target": "y"})
    found = named(problems, "group_across_split")
    assert found.severity == "warning" and found.where == (name,)
    assert f"data.group={name}" in found.mend
    assert data is not None
    held_out = split.fit_rows(data, {}, 0).held_out
    rest = np.setdiff1d(np.arange(600), held_out)
    both = len(set(patient[held_out]) & set(patient[rest]))
    assert f"60 values of 10.0 rows on average, and {both} of them" in found.message
    assert "group_across_split" not in leaks(frame, target="y", group=name)  # the remedy cures


def test_the_share_that_is_said_is_that_of_the_variance() -> None:
    patient, x, y = patients()
    found = named(
        check(pl.DataFrame({"patient": patient, "x": x, "y": y}), {"target": "y"})[1],
        "group_across_split",
    )
    means = np.array([y[patient == p].mean() for p in patient])
    assert f"explain {means.var() / y.var():.0%} of the variance of y" in found.message
    assert f"shuffled rows {59 / 599:.0%}" in found.message


def test_patients_who_are_alike_are_no_leak() -> None:
    warned = []
    for seed in range(20):
        patient, x, y = patients(seed, effect=0.0)
        warned.append(leaks(pl.DataFrame({"patient_id": patient, "x": x, "y": y}), target="y"))
    assert sum(map(bool, warned)) == 0


def test_measurements_counts_and_categories_are_no_groups() -> None:
    rng = RNG(0)
    n = 2000
    age, rooms = rng.integers(18, 90, n), rng.integers(1, 30, n)
    town = rng.choice(["Bern", "Basel", "Chur", "Genf"], n)
    y = 0.2 * age + 3.0 * rooms + 5 * (town == "Chur") + rng.normal(size=n)
    frame = pl.DataFrame({"age": age, "rooms": rooms, "town": town, "y": y})
    assert not leaks(frame, target="y")
    # Numbers that are a measurement say the target too, and their neighbours say it as well.
    assert told_by_neighbours(rooms, (y - y.mean())[:, None]) > 0.8


def test_few_rows_a_value_or_few_values_are_no_groups() -> None:
    rng = RNG(0)
    once = np.arange(400) // 1
    frame = pl.DataFrame({"code": once + 17, "x": rng.normal(size=400), "y": rng.normal(size=400)})
    assert not leaks(frame, target="y")
    four = rng.integers(0, 4, 400)
    level = np.array([3.0, -1.0, 2.0, -4.0])[four] + 0.1 * rng.normal(size=400)
    assert not leaks(
        pl.DataFrame({"grade": four, "x": rng.normal(size=400), "y": level}), target="y"
    )


def test_ids_that_float32_cannot_tell_apart_and_ids_left_out_as_texts() -> None:
    rng = RNG(0)
    customer = rng.integers(0, 400, 4000)
    y = 4 * rng.normal(size=400)[customer] + rng.normal(size=4000)
    large = pl.DataFrame({"account": 10_000_000_000 + customer, "x": rng.normal(size=4000), "y": y})
    assert "400 values" in named(check(large, {"target": "y"})[1], "group_across_split").message
    texts = pl.DataFrame({"ref": [f"c{c}" for c in customer], "x": rng.normal(size=4000), "y": y})
    data, problems = check(texts, {"target": "y"})
    assert data is not None and [c.name for c in data.spec.columns] == ["x"]
    assert "400 values" in named(problems, "group_across_split").message


def test_the_sources_own_split_of_whole_groups_is_no_leak(tmp_path: Path) -> None:
    paths, _ = write_images(tmp_path, scenes=12, each=6)
    rows = [f"{p},{'ab'[i % 2]},{i // 6}" for i, p in enumerate(paths)]
    for name, parts in (
        ("mixed", [i % 5 == 0 for i in range(72)]),
        ("whole", [i >= 60 for i in range(72)]),
    ):
        lines = [
            f"{row},{'test' if part else 'train'}" for row, part in zip(rows, parts, strict=True)
        ]
        (tmp_path / f"{name}.csv").write_text("path,label,scene,split\n" + "\n".join(lines))
        assert ("files_across_split" in leaks(tmp_path / f"{name}.csv", target="label")) == (
            name == "mixed"
        )


def test_groups_among_the_unused_columns_of_a_list_of_images(tmp_path: Path) -> None:
    rng = RNG(0)
    lines = []
    for i in range(120):
        name = f"{rng.integers(1 << 40):x}x.png"
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / name)
        patient = i // 6
        lines.append(f"{name},{'ill' if patient % 2 else 'well'},{patient}")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    lines.insert(5, "broken.png,ill,900")  # the rows after it must not slip
    (tmp_path / "list.csv").write_text("path,label,patient\n" + "\n".join(lines))
    found = named(check(tmp_path / "list.csv", {"target": "label"})[1], "group_across_split")
    assert found.where == ("patient",) and "20 values of 6.0 rows" in found.message
    assert "explain 100% of the variance" in found.message


@pytest.mark.parametrize(
    "file",
    ["german.csv", "california_housing.csv", "airfoil_self_noise.dat"],
)
def test_real_tables_without_groups_or_times_are_left_alone(shared: Path, file: str) -> None:
    # airfoil: 105 thicknesses of 14 rows each are settings of a wind tunnel. They explain 24 % of the
    # target: no group whose rows have one target, so it is not named.
    assert not leaks(shared / "tabular" / file)


@pytest.mark.parametrize("source", ["digits", "wine", "breast-cancer", "diabetes"])
def test_sources_by_name_are_left_alone(source: str) -> None:
    assert not leaks(source)


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        *((name, True) for name in ("patient", "PatientID", "user_no", "SESSION")),
        *((name, False) for name in ("id", "households", "session_length", "key", "x", "")),
    ],
)
def test_names_of_groups(name: str, yes: bool) -> None:
    assert is_group_name(name) == yes


# ---- time


def dated(seed: int, *, drift: float = 0.0, wave: float = 0.0, task: str = "") -> Any:
    """Rows in random order; the target goes up by `drift` over the time, or up and down by `wave`."""
    rng, n = RNG(seed), 500
    day, x = rng.integers(0, 1000, n), rng.normal(size=n)
    y = x + drift * day / 1000 + wave * np.sin(day / 60) + 0.3 * rng.normal(size=n)
    when = [datetime(2020, 1, 1) + timedelta(days=int(d)) for d in day]
    target = y if not task else np.where(y > np.median(y), "high", "low")
    return pl.DataFrame({"when": when, "x": x, "y": target})


@pytest.mark.parametrize("task", ["", "classification"])
@pytest.mark.parametrize("how", [{"drift": 3.0}, {"wave": 2.0}])
def test_a_target_that_goes_with_time_is_found(how: dict[str, Any], task: str) -> None:
    frame = dated(0, task=task, **how)
    found = named(check(frame, {"target": "y"})[1], "time_across_split")
    assert found.severity == "warning" and found.where == ("when",)
    assert "data.time=when" in found.mend and "% of the variance of y" in found.message
    assert "time_across_split" not in leaks(frame, target="y", time="when")


def test_neighbours_and_drift_are_told_apart() -> None:
    """A quick wave is alike only next to it; a slow rise below much noise only on average."""
    rng = RNG(0)
    day = rng.permutation(2000)
    when = [datetime(2020, 1, 1) + timedelta(days=int(d)) for d in day]
    x = rng.normal(size=2000)
    for y, said in (
        (np.sin(day / 2.5), "next to each other share"),
        (x + day / 2500, "its equal parts explain"),
    ):
        frame = pl.DataFrame({"when": when, "x": x, "y": y})
        message = named(check(frame, {"target": "y"})[1], "time_across_split").message
        assert said in message
        assert ("next to each other" in message) == (said == "next to each other share")


@pytest.mark.parametrize("task", ["", "classification"])
def test_dates_that_are_noise_are_not(task: str) -> None:
    assert (
        sum("time_across_split" in leaks(dated(s, task=task), target="y") for s in range(20)) <= 1
    )


def test_rows_in_the_order_of_time_are_worth_a_note() -> None:
    found = named(check(dated(0).sort("when"), {"target": "y"})[1], "time_across_split")
    assert found.severity == "note" and "in its order" in found.message


def test_few_moments_and_days_of_birth_are_no_time_of_the_row() -> None:
    frame = dated(0, drift=3.0)
    assert not leaks(frame.rename({"when": "birth date"}), target="y")
    few = frame.with_columns(pl.lit(datetime(2020, 1, 1)).alias("when"))
    assert not leaks(few, target="y")


def test_airline_passengers_are_named(shared: Path) -> None:
    path = shared / "tabular" / "airline_passengers.csv"
    table = {"target": "Passengers"}  # without it, the file is one long series
    found = named(check(path, table)[1], "time_across_split")
    assert found.where == ("Month",) and found.severity == "warning"
    assert "14 of 14 test rows" in found.message
    assert not leaks(path, time="Month", **table)


@pytest.mark.parametrize("spelling", ["%Y-%m", "%Y/%m"])
def test_months_are_read_as_their_first_day(tmp_path: Path, spelling: str) -> None:
    months = [datetime(2000 + i // 12, 1 + i % 12, 1) for i in range(60)]
    lines = [f"{m.strftime(spelling)},{i % 7},{i % 2}" for i, m in enumerate(months)]
    (tmp_path / "t.csv").write_text("when,x,y\n" + "\n".join(lines))
    data = read(tmp_path / "t.csv")
    assert data.spec.columns[0].kind == "date"
    days = [(m - datetime(2000, 1, 1)).days for m in months]
    np.testing.assert_array_equal(data.inputs[:, 0], days)
    again = read(tmp_path / "t.csv", like=data.spec)
    np.testing.assert_array_equal(again.inputs, data.inputs)


# ---- files


def write_images(
    folder: Path, *, scenes: int, each: int, alike: bool = True
) -> tuple[list[str], Any]:
    """Images of scenes, which look alike, called scene12_03.png."""
    rng = RNG(0)
    paths = []
    for scene in range(scenes):
        base = rng.integers(0, 200, (16, 16))
        for i in range(each):
            picture = base if alike else rng.integers(0, 200, (16, 16))
            picture = (picture + rng.integers(0, 50, (16, 16))).astype(np.uint8)
            name = f"scene{scene}_{i:02d}.png"
            Image.fromarray(picture).save(folder / name)
            paths.append(name)
    return paths, None


@pytest.mark.parametrize("alike", [True, False])
def test_frames_of_one_video_in_class_folders(tmp_path: Path, alike: bool) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        write_images(tmp_path / label, scenes=8, each=6, alike=alike)
    data, problems = check(tmp_path)
    found = named(problems, "files_across_split")
    assert found.severity == ("warning" if alike else "note")
    assert ("look alike" in found.message) == alike
    assert data is not None
    held_out = set(data.keys[split.fit_rows(data, {}, 0).held_out].tolist())
    keys: list[str] = data.keys.tolist()
    scenes = {k: k.rsplit("_", 1)[0] for k in keys}
    both = {scenes[k] for k in held_out} & {scenes[k] for k in keys if k not in held_out}
    assert set(found.where) == {k for k in keys if scenes[k] in both}
    assert f"{len(both)} of 16 such names" in found.message


@pytest.mark.parametrize(
    "names",
    [
        lambda i: (f"image_{i:04d}.png", f"photo{i}.png"),
        lambda i: (f"{i}.png", f"{i + 1000}.png"),
        lambda i: (f"{RNG(i).integers(1 << 40):x}.png", f"a{i % 7}_{i}.png"),
    ],
)
def test_numbered_files_are_no_groups(tmp_path: Path, names: Any) -> None:
    rng = RNG(0)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(30):
            for name in names(i):
                picture = rng.integers(0, 255, (8, 8), dtype=np.uint8)
                Image.fromarray(picture).save(tmp_path / label / name)
    assert not leaks(tmp_path)


# ---- shares


@given(st.integers(0, 10_000), st.integers(2, 30))
@settings(max_examples=25, deadline=None)
def test_the_share_of_groups_is_that_of_a_naive_twin(seed: int, groups: int) -> None:
    rng = RNG(seed)
    codes = rng.integers(0, groups, 200)
    classes = rng.integers(0, 4, 200)
    y = rng.normal(size=(200, 2)) + codes[:, None] * rng.random()
    y -= y.mean(0)
    naive = (
        sum((codes == g).sum() * (y[codes == g].mean(0) ** 2).sum() for g in np.unique(codes))
        / (y**2).sum()
    )
    assert explained(codes, y, least=1.0).share == pytest.approx(naive)
    hot = np.eye(4)[classes] - np.eye(4)[classes].mean(0)
    assert explained(codes, classes, least=1.0).share == pytest.approx(
        explained(codes, hot, least=1.0).share
    )
    assert neighbours(classes).share == pytest.approx(neighbours(hot).share)


def test_what_chance_explains_is_what_shuffled_rows_do() -> None:
    codes, y = RNG(0).integers(0, 30, 400), RNG(1).normal(size=(400, 1))
    y -= y.mean(0)
    found = explained(codes, y)
    assert found.mean == pytest.approx(29 / 399, rel=0.1) and found.most > found.mean
    assert explained(codes, y, within=codes).mean == pytest.approx(found.share)  # nothing moves
    assert abs(neighbours(y).mean) < 0.02


def test_whole_groups_are_taken() -> None:
    codes = RNG(0).integers(-1, 50, 1000)
    rows = whole_groups(codes, 300)
    assert 250 <= len(rows) <= 300 and (codes[rows] >= 0).all()
    cut = [g for g in np.unique(codes[rows]) if (codes[rows] == g).sum() < (codes == g).sum()]
    assert len(cut) <= 20  # the last one drawn is cut to the bound, by rows at random
    np.testing.assert_array_equal(whole_groups(codes, 2000), np.flatnonzero(codes >= 0))

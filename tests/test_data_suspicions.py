"""What looks too good or bent: leaks, repeated columns, caps, near duplicates, copies across the split."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_problems import named
from PIL import Image

from fitwell.data import check, read
from fitwell.data.near import near_duplicates
from fitwell.data.split import fit_rows
from fitwell.data.suspicions import FIRST_LOOK

RNG = np.random.default_rng


def table(n: int = 400, **columns: Any) -> pl.DataFrame:
    rng = RNG(0)
    plain = {"a": rng.normal(size=n), "b": rng.normal(size=n), "c": rng.choice(["x", "y"], n)}
    return pl.DataFrame({**plain, **columns})


def names(frame: pl.DataFrame, **options: Any) -> set[str]:
    return {p.name for p in check(frame, {"target": "y", **options})[1]}


def problem(frame: pl.DataFrame, name: str, **options: Any) -> Any:
    return named(check(frame, {"target": "y", **options})[1], name)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_column_that_is_the_target_is_found(task: str) -> None:
    y = RNG(1).normal(size=400)
    target = y if task == "regression" else np.where(y > 0.3, "high", "low")
    noisy = y + 0.5 * RNG(2).normal(size=400)
    frame = table(leak=3 * y + 7, noisy=noisy, y=target)
    found = problem(frame, "target_in_features", task=task)
    assert found.severity == "warning" and found.where == ("leak",)
    assert "leak" in found.message and "noisy" not in found.message
    assert "target_in_features" not in names(table(noisy=noisy, y=target), task=task)


def test_a_leak_in_categories_or_in_missing_values_is_found() -> None:
    y = RNG(1).choice(["ill", "well"], 400)
    coded = np.where(y == "ill", RNG(2).choice(["A", "B"], 400), RNG(3).choice(["C", "D"], 400))
    dated = np.where(y == "ill", RNG(2).normal(size=400), np.nan)  # filled in for the ill alone
    found = problem(table(coded=coded, dated=dated, y=y), "target_in_features")
    assert found.where == ("coded", "dated")
    cost = np.where(y == "ill", 100.0, 7.0) + RNG(4).random(400)
    assert problem(table(dated=dated, y=cost), "target_in_features").where == ("dated",)


def test_few_rows_and_rare_classes_are_no_leak() -> None:
    few = table(60, y=RNG(1).choice(["a", "b"], 60), leak=RNG(1).choice(["a", "b"], 60))
    assert "target_in_features" not in names(few)
    rare = np.where(np.arange(400) % 50 == 0, "yes", "no")
    assert "target_in_features" not in names(table(y=rare))


@pytest.mark.parametrize("source", ["breast-cancer", "wine", "diabetes"])
def test_real_tables_are_not_suspected(source: str) -> None:
    found = {p.name for p in check(source)[1]}
    assert not found & {"target_in_features", "repeated_column", "capped_target"}


def test_columns_that_say_the_same_are_found_in_any_unit() -> None:
    cm = RNG(1).normal(170, 10, 400).round(1)
    cm[5] = np.nan
    frame = table(
        cm=cm, inch=cm / 2.54, minus=-cm, other=cm + RNG(2).normal(size=400), y=RNG(3).random(400)
    )
    frame = frame.with_columns(again=pl.col("c"), none=pl.lit(1.0), one=pl.lit(1.0))
    found = problem(frame, "repeated_column")
    assert set(found.where) == {"cm", "inch", "minus", "c", "again"}


def test_values_that_are_missing_elsewhere_make_another_column() -> None:
    a = RNG(1).normal(size=400)
    b = a.copy()
    b[7] = np.nan
    assert "repeated_column" not in names(table(one=a, two=b, y=RNG(3).random(400)))


def test_a_capped_target_is_found_and_counts_are_not() -> None:
    y = RNG(1).gamma(2.0, 100_000, 4000)
    found = problem(table(4000, y=np.minimum(y, 500_001)), "capped_target")
    assert "values of y are 500001, its largest" in found.message
    assert "capped_target" not in names(table(4000, y=y))
    assert "capped_target" not in names(table(4000, y=RNG(1).poisson(30, 4000)), task="regression")
    assert "capped_target" not in names(table(4000, y=RNG(1).uniform(0, 9.99, 4000).round(1)))


def test_california_is_capped(shared: Path) -> None:
    path = shared / "tabular" / "california_housing.csv"
    problems = check(path, {"target": "median_house_value"})[1]
    assert "965 of 20640 values" in named(problems, "capped_target").message
    assert not any(p.name in ("target_in_features", "repeated_column") for p in problems)


def test_infinite_values_are_suspected_of_nothing_else() -> None:
    a = RNG(1).normal(size=400)
    a[3] = np.inf
    _, problems = check((np.stack([a, RNG(2).normal(size=400)], 1), np.arange(400) % 2))
    assert [p.name for p in problems if p.severity != "note"] == ["nonfinite_inputs"]


def photo(seed: int, side: int = 96) -> Image.Image:
    """Blobs of colour, as smooth as photographs are."""
    small = Image.fromarray(RNG(seed).integers(0, 256, (7, 7, 3), np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def decoded(*images: Image.Image) -> np.ndarray:
    return np.stack([np.asarray(i.resize((64, 64))).transpose(2, 0, 1) for i in images])


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue())).convert("RGB")


@pytest.mark.parametrize(
    "change",
    [
        lambda i: as_jpeg(i, 40),
        lambda i: i.resize((60, 60)),
        lambda i: i.point(lambda v: round(0.8 * v + 10)),
        lambda i: as_jpeg(i.convert("L").convert("RGB"), 85),
        lambda i: as_jpeg(i.point(lambda v: min(255, round(1.4 * v))), 85),
    ],
    ids=["saved as jpeg", "made smaller", "paler", "grey", "so bright that much is white"],
)
def test_the_same_picture_otherwise_saved_is_found(change: Any) -> None:
    others = [photo(i) for i in range(2, 60)]
    images = decoded(photo(0), *others, change(photo(0)), photo(1))
    assert near_duplicates(images) == [(0, 59)]


def test_exact_copies_flat_and_other_pictures_are_no_near_duplicates() -> None:
    flat = [Image.new("RGB", (64, 64), (i, i, i)) for i in range(0, 250, 25)]
    images = decoded(photo(0), photo(0), *flat, *(photo(i) for i in range(1, 80)))
    assert near_duplicates(images) == []


def test_a_plain_ground_does_not_hide_a_copy() -> None:
    """Things on white: between fields of white the noise of a format would decide."""
    things = [Image.new("RGB", (128, 128), "white") for _ in range(60)]
    for seed, thing in enumerate(things):
        thing.paste(photo(seed, 40), (20 + seed % 7 * 9, 20 + seed % 5 * 9))
    again = [as_jpeg(thing, 60) for thing in things]
    found = near_duplicates(decoded(*things, *again))
    assert all(b == a + 60 for a, b in found)
    assert len(found) >= 57


def test_grey_pictures_of_other_things_are_no_near_duplicates() -> None:
    grey = [photo(i).convert("L").convert("RGB") for i in range(40)]
    assert near_duplicates(decoded(*grey, *(photo(i) for i in range(40, 80)))) == []


def test_caltech_has_near_duplicates(shared: Path, tmp_path: Path) -> None:
    """Found by this test and looked at: a llama and a grand piano at another size, one before another
    ground, one much brighter."""
    archive = shared / "caltech25" / "caltech25.tar"
    found = [p for p in check(str(archive))[1] if p.name.startswith("near_")]
    where = {key for p in found for key in p.where}
    assert {"llama/image_0001.jpg", "llama/image_0010.jpg"} <= where
    assert {"grand_piano/image_0006.jpg", "grand_piano/image_0014.jpg"} <= where
    assert {"grand_piano/image_0009.jpg", "grand_piano/image_0072.jpg"} <= where
    assert {"grand_piano/image_0041.jpg", "grand_piano/image_0051.jpg"} <= where
    assert len(where) < 40


def test_copies_across_the_split_that_fitwell_makes_are_said(tmp_path: Path) -> None:
    x, y = RNG(0).normal(size=(200, 3)), np.arange(200) % 2
    test = fit_rows(read((x, y)), {}, 0).held_out
    inside = np.setdiff1d(np.arange(200), test)
    x[test[0]], y[test[0]] = x[inside[0]], y[inside[0]]
    found = named(check((x, y))[1], "duplicate_across_split")
    assert set(found.where) == {f"row {test[0]}", f"row {inside[0]}"}
    assert "data.group" in found.mend
    x[inside[1]], y[inside[1]] = x[inside[2]], y[inside[2]]
    both = {p.name: p for p in check((x, y))[1]}
    assert set(both["duplicate_examples"].where) == {f"row {inside[1]}", f"row {inside[2]}"}


def test_near_copies_with_other_labels_are_said(tmp_path: Path) -> None:
    for i in range(12):
        folder = tmp_path / ("cat" if i % 2 else "dog")
        folder.mkdir(exist_ok=True)
        photo(i).save(folder / f"{i}.png")
    as_jpeg(photo(1), 60).save(tmp_path / "dog" / "1.jpg", quality=90)
    found = named(check(tmp_path)[1], "near_conflicting_labels")
    assert set(found.where) == {"cat/1.png", "dog/1.jpg"}
    assert not any(p.name.startswith("near_") for p in read(tmp_path).problems)  # at every start


def test_images_in_fractions_and_masks_are_looked_at_too() -> None:
    pictures = decoded(photo(0), *(photo(i) for i in range(1, 40)), as_jpeg(photo(0), 40))
    y = np.arange(41) % 2
    found = named(check((pictures.astype(np.float32) / 255, y))[1], "near_duplicate_examples")
    assert found.where == ("row 0", "row 40")
    masks = (RNG(0).random((20, 1, 16, 16)) > 0.5).astype(np.uint8)
    assert not any(p.name.startswith("near_") for p in check((masks, y[:20]))[1])


def test_columns_that_agree_in_the_rows_looked_at_first_are_compared_in_all() -> None:
    n = 3 * FIRST_LOOK
    a, b = RNG(0).normal(size=n), RNG(1).normal(size=n)
    almost = a.copy()
    almost[1::3] = RNG(2).permutation(almost[1::3])  # rows that the first look leaves out
    frame = pl.DataFrame({"almost": almost, "a": a, "b": b, "b2": 7 - 2 * b, "a2": a, "y": a + b})
    found = problem(frame, "repeated_column", task="regression")
    assert found.where == ("a", "a2", "b", "b2")


def test_copies_are_looked_for_in_bounded_memory() -> None:
    """Large images are hashed a few at a time, and copies found across the pieces."""
    import tracemalloc

    from fitwell.data.duplicates import CHUNK, duplicate_groups

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (900, 3, 160, 160), dtype=np.uint8)
    images[880] = images[7]
    assert images.nbytes > 4 * CHUNK
    tracemalloc.start()
    found = duplicate_groups(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [group.tolist() for group in found] == [[7, 880]]
    assert peak < 5 * CHUNK


def test_copies_of_half_the_size_are_near_duplicates_and_other_colours_are_none() -> None:
    """Fine detail, which the smaller copy has lost, is not compared; colours are."""
    coarse = RNG(0).integers(0, 256, (20, 9, 9, 3), np.uint8)
    fine = RNG(1).normal(0, 20, (20, 128, 128, 3))
    large = [Image.fromarray(one).resize((128, 128), Image.Resampling.BICUBIC) for one in coarse]
    noisy = [np.clip(np.asarray(one) + f, 0, 255) for one, f in zip(large, fine, strict=True)]
    photos = [Image.fromarray(one.astype(np.uint8)) for one in noisy]
    half = [photo.resize((64, 64), Image.Resampling.BICUBIC) for photo in photos]
    again = [photo.resize((128, 128), Image.Resampling.BILINEAR) for photo in half]
    turned = [np.asarray(photo)[:, :, ::-1] for photo in photos]  # red is blue
    every = [np.asarray(photo) for photo in (*photos, *again)] + turned
    images = np.stack(every).transpose(0, 3, 1, 2)
    assert near_duplicates(images) == [(i, i + 20) for i in range(20)]

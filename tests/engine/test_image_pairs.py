"""Judged pairs of pictures, in the forms that they come in, and those that rewards judge on the spot."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from engine.contract.image_settings import ImageSource
from engine.diffusion.image_pairs import PicturePairs, read_pairs
from engine.diffusion.image_sources import ImageDataError


def picture(value: int, side: int = 4) -> bytes:
    """A grey PNG."""
    written = io.BytesIO()
    Image.new("L", (side, side), value).save(written, format="PNG")
    return written.getvalue()


def read(folder: Path, rows: list[dict[str, Any]], shape: tuple[int, int, int] = (1, 4, 4)) -> PicturePairs:
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return read_pairs([ImageSource(path=str(file))], shape, lambda: None)


def brightness(pairs: PicturePairs) -> list[tuple[int, int]]:
    return [(int(one.max()), int(other.max())) for one, other in zip(pairs.chosen, pairs.rejected, strict=True)]


def test_rows_of_a_labelling_set_name_pictures_beside_the_file(tmp_path: Path) -> None:
    for value in (10, 200):
        (tmp_path / f"{value}.png").write_bytes(picture(value))
    row = {"prompt": "7", "class": 7, "chosen": "200.png", "rejected": "10.png", "group": "a"}
    pairs = read(tmp_path, [row, {**row, "class": None, "prompt": "a seven", "group": "b"}])
    assert brightness(pairs) == [(200, 10), (200, 10)]
    assert pairs.prompts == [7, "a seven"]
    assert pairs.groups == ["a", "b"]
    assert pairs.at([0])[0].flatten().tolist() == pytest.approx([200 / 127.5 - 1] * 16)


def test_pick_a_pics_columns_say_by_label_which_one_was_preferred(tmp_path: Path) -> None:
    dark, bright = (base64.b64encode(picture(value)).decode() for value in (10, 200))
    rows = [{"caption": "x", "jpg_0": dark, "jpg_1": bright, "label_0": label} for label in (1, 0)]
    assert brightness(read(tmp_path, rows)) == [(10, 200), (200, 10)]


def test_a_picture_of_another_size_is_brought_to_the_models(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(90, side=9))
    (tmp_path / "b.png").write_bytes(picture(80, side=3))
    pairs = read(tmp_path, [{"chosen": "a.png", "rejected": "b.png"}], shape=(3, 4, 4))
    assert pairs.chosen.shape == (1, 3, 4, 4)
    assert brightness(pairs) == [(90, 80)]


def test_rows_that_cannot_be_used_are_told_by_number_and_reason_and_nothing_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    (tmp_path / "b.png").write_bytes(picture(2))
    (tmp_path / "torn.png").write_bytes(picture(3)[:40])
    good = {"chosen": "a.png", "rejected": "b.png"}
    pick = {"jpg_0": "a.png", "jpg_1": "b.png"}
    rows: list[dict[str, Any]] = [
        good,
        {**good, "rejected": "a.png"},
        {**good, "rejected": "torn.png"},
        {**good, "rejected": "https://example.org/b.png"},
        {**good, "rejected": "gone.png"},
        {**pick, "label_0": 0.5},
        {"chosen": "a.png"},
    ]
    found = read(tmp_path, rows)
    assert len(found) == 1
    reasons = {why: list(numbers) for why, numbers in found.left_out.items()}
    assert sorted(number for numbers in reasons.values() for number in numbers) == [2, 3, 4, 5, 6, 7]
    assert reasons["has only an address in `rejected`, and nothing is fetched"] == [4]
    assert reasons["has in `rejected` neither a file that is there nor base64"] == [5]


def test_a_file_without_one_pair_is_refused_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(ImageDataError, match=r"no pair of pictures can be learned from: has no picture in `chosen`"):
        read(tmp_path, [{"prompt": "x"}])


def test_half_of_the_pictures_is_each_side(tmp_path: Path) -> None:
    for value in range(1, 7):
        (tmp_path / f"{value}.png").write_bytes(picture(value))
    pairs = read(tmp_path, [{"chosen": f"{n}.png", "rejected": f"{n + 3}.png"} for n in (1, 2, 3)])
    assert brightness(pairs.only([2, 0])) == [(3, 6), (1, 4)]
    assert torch.equal(pairs.only([1]).chosen, pairs.chosen[1:2])

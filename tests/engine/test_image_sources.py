"""Images from folders, arrays and tables: what can be used, and what is said of what cannot."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageColumn
from PIL import Image

from engine.contract.image_settings import ImageData
from engine.diffusion.images import ImageDataError, Images, load_images

GREY = (1, 8, 8)


def loaded(path: Path, shape: tuple[int, int, int] = GREY, **more: Any) -> Images:
    return load_images(ImageData.model_validate({"train": {"path": str(path), **more}}), shape, seed=0)[0]


def captions(path: Path, **more: Any) -> tuple[str, ...]:
    data = ImageData.model_validate({"train": {"path": str(path), **more}})
    return load_images(data, GREY, seed=0, with_captions=True)[0].captions


def drawn(file: Path, size: tuple[int, int] = (8, 8), mode: str = "L", colour: Any = 255) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file)
    return file


def png_of_size(file: Path, width: int, height: int) -> Path:
    """A PNG that says how large it is, and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return file


def reason(file: Path) -> str:
    """Why this image, beside a good one, is left out."""
    drawn(file.parent / "good.png")
    (told,) = loaded(file.parent).left_out
    assert told.startswith(f"{file.name} ")
    return told


def test_an_image_that_ends_in_the_middle_is_left_out(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "torn.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:500])
    assert "is broken: " in reason(tmp_path / "torn.png")


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (10_000, 9_000)])
def test_a_bomb_is_left_out_before_it_is_decoded(tmp_path: Path, width: int, height: int) -> None:
    told = reason(png_of_size(tmp_path / "bomb.png", width, height))
    assert "89,000,000" in told
    assert "make it smaller" in told


def test_an_image_of_cmyk_is_left_out(tmp_path: Path) -> None:
    assert "is CMYK, whose colours depend on a printer; convert it to RGB" in reason(
        drawn(tmp_path / "print.jpg", mode="CMYK", colour=(0, 0, 0, 0))
    )


def test_what_is_no_image_is_left_out_and_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nquit\n%%EOF\n")
    assert "is none of PNG, JPEG" in reason(tmp_path / "page.png")


def test_an_image_of_16_bits_is_left_out_rather_than_cut(tmp_path: Path) -> None:
    assert "convert it to 8 bits" in reason(drawn(tmp_path / "deep.png", mode="I;16", colour=60_000))


def test_a_folder_with_nothing_that_can_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image", "utf-8")
    with pytest.raises(ImageDataError, match=r"has no image that can be used; put files such as \.png"):
        loaded(tmp_path)
    (tmp_path / "a.png").write_text("no image", "utf-8")
    with pytest.raises(ImageDataError, match=r"no image that can be used: a\.png is none of"):
        loaded(tmp_path)


def test_images_of_other_sizes_are_cropped_around_their_middle_and_scaled(tmp_path: Path) -> None:
    wide = Image.new("L", (32, 8), 0)
    wide.paste(255, (12, 0, 20, 8))
    wide.save(tmp_path / "wide.png")
    drawn(tmp_path / "small.png", (4, 4))
    found = loaded(tmp_path)
    assert found.sizes == {(32, 8), (4, 4)}
    assert found.pixels.shape == (2, 1, 8, 8)
    assert int(found.pixels.min()) == 255


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    drawn(tmp_path / "clear.png", mode="RGBA", colour=(255, 0, 0, 0))
    assert loaded(tmp_path, (3, 8, 8)).at([0]).unique().tolist() == [1.0]


def test_folders_in_a_folder_are_its_classes(tmp_path: Path) -> None:
    for name, grey in (("cats", 0), ("ants", 255)):
        drawn(tmp_path / name / "1.png", colour=grey)
    found = loaded(tmp_path)
    assert found.names == ("ants", "cats")
    assert found.labels.tolist() == [0, 1]
    assert found.at([0, 1]).amax(dim=(1, 2, 3)).tolist() == [1.0, -1.0]


def test_a_table_of_datasets_has_images_and_classes(tmp_path: Path) -> None:
    files = [str(drawn(tmp_path / f"{grey}.png", colour=grey)) for grey in (0, 255)]
    features = Features({"image": ImageColumn(), "label": ClassLabel(names=["black", "white"])})
    Dataset.from_dict({"image": files, "label": [0, 1]}, features=features).to_parquet(tmp_path / "rows.parquet")
    found = loaded(tmp_path / "rows.parquet")
    assert found.names == ("black", "white")
    assert torch.equal(found.at([0, 1]).mean(dim=(1, 2, 3)), torch.tensor([-1.0, 1.0]))
    with pytest.raises(ImageDataError, match="no column 'picture'; set image to one of image, label"):
        loaded(tmp_path / "rows.parquet", image="picture")


def test_captions_are_in_lines_beside_images_or_made_of_the_class(tmp_path: Path) -> None:
    for name in ("cats/1", "cats/2", "dogs/3"):
        drawn(tmp_path / f"{name}.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "cats/1.png", "text": "two cats"}\n')
    (tmp_path / "cats" / "2.txt").write_text(" a cat at night\n")
    assert captions(tmp_path) == ("two cats", "a cat at night", "")
    assert captions(tmp_path, caption="a photo of {class}")[2] == "a photo of dogs"
    assert captions(tmp_path, caption="one of the {class}", class_names=["cat", "dog"])[2] == "one of the dog"
    assert loaded(tmp_path).captions == ()
    with pytest.raises(ImageDataError, match="has classes 0 to 1, and class_names names 1\nname every class"):
        captions(tmp_path, class_names=["cat"])
    (tmp_path / "metadata.jsonl").write_text("{\n")
    with pytest.raises(ImageDataError, match=r"metadata\.jsonl: line 1 is no JSON: .*; mend it, or take the file away"):
        captions(tmp_path)


def test_captions_of_tables_and_arrays_are_a_column_of_them(tmp_path: Path) -> None:
    features = Features({"image": ImageColumn(), "says": Value("string")})
    rows = {"image": [str(drawn(tmp_path / "1.png"))] * 2, "says": ["white", None]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    assert captions(tmp_path / "rows.parquet", text="says") == ("white", "")
    assert captions(tmp_path / "rows.parquet", caption="a square") == ("a square", "a square")
    with pytest.raises(ImageDataError, match="no column 'text' for captions; set text to one of image, says, or"):
        captions(tmp_path / "rows.parquet")
    np.savez(tmp_path / "some.npz", images=np.zeros((2, 8, 8), np.uint8), text=np.array(["black", "night"]))
    assert captions(tmp_path / "some.npz") == ("black", "night")
    with pytest.raises(
        ImageDataError, match=r"some\.npz does not say what its classes are called\nname them in class_n"
    ):
        captions(tmp_path / "some.npz", caption="a {class}")


def test_arrays_of_another_shape_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", images=np.zeros((2, 9, 9), np.uint8))
    with pytest.raises(ImageDataError, match=r"has images of 1 x 9 x 9 .* the model takes 1 x 8 x 8"):
        loaded(tmp_path / "wrong.npz")
    np.savez(tmp_path / "objects.npz", images=np.array([{}], dtype=object))
    with pytest.raises(ImageDataError, match="cannot be read"):
        loaded(tmp_path / "objects.npz")

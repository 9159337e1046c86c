"""What a PNG says of itself: all that draws it again, and nothing a stranger can hurt us with."""

import json
import struct
import zlib
from pathlib import Path

import pytest

from engine.contract import png_text
from engine.contract.image_record import ImageRecord, parse_record, read_picture, with_record
from engine.contract.image_tools import Told, told
from engine.contract.png_text import PngError, read_png_text, with_texts

RECORD = ImageRecord(
    model="assets:digits-denoiser",
    fingerprint="abc",
    sampler="ddim",
    steps=20,
    eta=0.5,
    guidance=2.0,
    label=7,
    seed=11,
    index=3,
    width=8,
    height=8,
    schedule={"beta_start": 1e-4, "clip_sample": False, "trained_betas": [1, 2.5]},
    cell={"steps": 20},
    versions={"torch": "2"},
)


def chunk(kind: bytes, data: bytes, *, length: int | None = None, crc: int | None = None) -> bytes:
    check = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", check)


def png(*chunks: bytes, width: int = 2, height: int = 1) -> bytes:
    """A grey picture of two pixels with these chunks in it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\x10\xf0"))
    return png_text.SIGNATURE + head + b"".join(chunks) + pixels + chunk(b"IEND", b"")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "picture.png"


def test_a_record_comes_back_from_the_picture(file):
    file.write_bytes(with_record(png(), RECORD))
    picture = read_picture(file)
    assert picture.record == RECORD
    assert (picture.width, picture.height) == (2, 1)
    assert picture.told == Told("plumbline", "class 7", None, 11, 20, 2.0, "ddim", "assets:digits-denoiser", 8, 8)


def test_pixels_are_untouched_and_a_second_record_replaces_the_first():
    once = with_record(png(), RECORD)
    twice = with_record(once, RECORD)
    assert once == twice
    assert once.endswith(png()[33:])  # after signature and IHDR come the texts, then what was there


def test_other_programs_find_what_they_know(file):
    record = RECORD.model_copy(update={"prompt": "a gelée, sunny", "negative_prompt": "rain", "label": None})
    file.write_bytes(with_record(png(), record))
    text = read_png_text(file).texts["parameters"]
    settings = "Steps: 20, Sampler: ddim, CFG scale: 2, Seed: 11, Size: 8x8, Model: "
    assert text == f'a gelée, sunny\nNegative prompt: rain\n{settings}"assets:digits-denoiser"'
    again = told({"parameters": text})
    assert (again.prompt, again.negative_prompt, again.seed) == ("a gelée, sunny", "rain", 11)
    assert (again.steps, again.guidance, again.width, again.model) == (20, 2.0, 8, "assets:digits-denoiser")


A1111 = (
    "a (red:1.2) house,\nin snow\nNegative prompt: blurry, text\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7.5,"
    ' Seed: 3199, Size: 512x768, Model hash: cc6cb, Model: real, Lora hashes: "a: b, c: d", Version: v1.9'
)
COMFY = {
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 9, "steps": 12, "cfg": 6.5, "sampler_name": "euler", "model": ["10", 0],
                   "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]},
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 32, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a house", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "model": ["4", 0]}},
}  # fmt: skip
SWARM = {"sui_image_params": {"prompt": "a house", "negativeprompt": "rain", "seed": 4, "steps": 5, "cfgscale": 3}}
INVOKE = {
    "positive_prompt": "a house",
    "seed": 4,
    "steps": 5,
    "cfg_scale": 3,
    "scheduler": "euler",
    "model": {"name": "m"},
}
EARLY = {"model_weights": "m", "image": {"prompt": [{"prompt": "a house"}], "seed": 4, "steps": 5, "cfg_scale": 3}}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            {"parameters": A1111},
            Told(
                "a1111",
                "a (red:1.2) house,\nin snow",
                "blurry, text",
                3199,
                25,
                7.5,
                "DPM++ 2M Karras",
                "real",
                512,
                768,
            ),
        ),
        (
            {"prompt": json.dumps(COMFY)},
            Told("comfyui", "a house", None, 9, 12, 6.5, "euler", "sd.safetensors", 64, 32),
        ),
        ({"parameters": json.dumps(SWARM)}, Told("swarmui", "a house", "rain", 4, 5, 3.0)),
        ({"invokeai_metadata": json.dumps(INVOKE)}, Told("invokeai", "a house", None, 4, 5, 3.0, "euler", "m")),
        ({"sd-metadata": json.dumps(EARLY)}, Told("invokeai", "a house", None, 4, 5, 3.0, None, "m")),
        ({"Software": "x"}, Told()),
    ],
)
def test_what_other_programs_say_is_read(texts, expected):
    assert told(texts) == expected


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{", '{"3": 4}', '{"3": {"class_type": "KSampler", "inputs": {"steps": 1, "positive": ["3", 0]}}}'],
)
def test_graphs_that_are_none_say_nothing(text):
    assert told({"prompt": text}).prompt is None


def test_numbers_that_cannot_be_are_left_out():
    said = {"seed": -1, "steps": True, "cfg_scale": float("inf"), "width": 1e9, "positive_prompt": ["x"]}
    assert told({"invokeai_metadata": json.dumps(said)}) == Told("invokeai")


def test_a_line_made_to_take_for_ever_takes_a_moment():
    assert told({"parameters": "Steps: 5, " + "a" * 1_000_000}).steps == 5
    assert told({"parameters": "Steps: 5, x: " + '"\\' * 500_000}).steps == 5


BOMB = zlib.compress(b"\0" * (png_text.LARGEST_TEXT + 1), 9)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"GIF89a", "is not a PNG"),
        (b"", "is not a PNG"),
        (png()[:40], "ends in the middle"),
        (png_text.SIGNATURE + chunk(b"IEND", b""), "how large it is"),
        (png(width=0), "claims 0 x 1 pixels"),
        (png(width=2**31), "claims 2147483648"),
        (png(chunk(b"tEXt", b"parameters\0x", crc=1)), "wrong checksum"),
        (png(chunk(b"tEXt", b"parameters\0x", length=2**31 + 5)), "ends in the middle"),
        (png(chunk(b"zTXt", b"parameters\0\0" + BOMB)), "unpacks to more than"),
        (png(chunk(b"iTXt", b"plumbline\0\1\0\0\0" + BOMB)), "unpacks to more than"),
        (png(chunk(b"zTXt", b"parameters\0\0garbage")), "cannot be unpacked"),
        (png(*[chunk(b"tEXt", b"k\0v")] * 65), "more than 64 texts"),
        (png(chunk(b"tEXt", b"k\0" + b"v" * png_text.LARGEST_TEXT)), "chunk of"),
        (png(chunk(b"iTXt", b"plumbline\0\0\0\0\0" + b"[" * 100_000)), "has a record that is not one: JSON"),
        (png(chunk(b"iTXt", b"plumbline\0\0\0\0\0" + b" " * 300_000)), "300000 characters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_hostile_picture_is_refused_in_words(file, data, problem):
    file.write_bytes(data)
    with pytest.raises(PngError, match=problem):
        read_picture(file)


def test_a_hundred_thousand_chunks_are_enough(file, monkeypatch):
    monkeypatch.setattr(png_text, "MOST_CHUNKS", 10)
    file.write_bytes(png(*[chunk(b"noNe", b"")] * 20))
    with pytest.raises(PngError, match="more than 10 chunks"):
        read_png_text(file)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 10**9),
        ("seed", -1),
        ("eta", float("nan")),
        ("width", "8.5"),
        ("label", [7]),
        ("model", None),
    ],
)
def test_a_record_with_a_value_that_cannot_be_names_it(field, value):
    text = json.dumps(RECORD.model_dump(mode="json") | {field: value})
    with pytest.raises(PngError, match=f"not one: {field}"):
        parse_record(text)


def test_a_newer_record_with_more_in_it_is_read():
    assert parse_record(RECORD.model_dump_json()[:-1] + ', "more": [1]}') == RECORD


def test_a_missing_file_is_told(file):
    with pytest.raises(PngError, match="cannot be read"):
        read_picture(file)


def test_text_in_any_script_survives(file):
    file.write_bytes(with_texts(png(), {"parameters": "猫, gelée"}))
    assert read_png_text(file).texts == {"parameters": "猫, gelée"}

"""What other programs write into their pictures, read as far as it says how one was drawn; and written as they read it.

A1111 and Forge: `parameters`, lines of text. SwarmUI: `parameters`, JSON. InvokeAI: `invokeai_metadata`, before that
`sd-metadata`. ComfyUI: `prompt`, the graph of its nodes. All of it is a stranger's word: types and bounds are checked,
what does not fit is left out, and nothing else happens to it.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

#: Longer lines of settings, and texts of more JSON, are not looked at.
LONGEST_LINE = 20_000
LONGEST_JSON = 4 * 1024 * 1024
LONGEST_PROMPT = 100_000
#: How far a ComfyUI graph is followed from a sampler to what it is fed with.
FARTHEST = 16
_SETTING = re.compile(r'\s*(\w[\w /-]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,"]*)(?:,|$)')


class Told(NamedTuple):
    """What a picture says, by whatever program; None where it says nothing. seed: as a number of at least 0."""

    tool: str = ""
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None


def told(texts: Mapping[str, str]) -> Told:
    """What the texts of a PNG say. Never raises: what cannot be read says nothing."""
    if "invokeai_metadata" in texts:
        return _of_invoke(_json(texts["invokeai_metadata"]))
    if "sd-metadata" in texts:
        return _of_early_invoke(_json(texts["sd-metadata"]))
    if "parameters" in texts:
        swarm = _mapping(_json(texts["parameters"])).get("sui_image_params")
        return _of_swarm(_mapping(swarm)) if swarm else _of_lines(texts["parameters"])
    if "prompt" in texts:
        return _of_comfy(_json(texts["prompt"]))
    return Told()


def parameters(told: Told) -> str:
    """The same as A1111 writes it: the prompt, the negative prompt, and a line of settings."""
    size = f"{told.width}x{told.height}" if told.width and told.height else None
    settings = {
        "Steps": told.steps,
        "Sampler": told.sampler,
        "CFG scale": told.guidance,
        "Seed": told.seed,
        "Size": size,
        "Model": told.model,
    }
    line = ", ".join(f"{name}: {_quoted(value)}" for name, value in settings.items() if value is not None)
    negative = [f"Negative prompt: {told.negative_prompt}"] if told.negative_prompt else []
    return "\n".join([told.prompt or "", *negative, line])


def _quoted(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:"\n') else text


# ------------------------------------------------------------------------------------------- program by program


def _of_lines(text: str) -> Told:
    """A1111's: the last line that begins with `Steps:` holds the settings; above it stand both prompts."""
    above, found, line = text[: 4 * LONGEST_PROMPT].rpartition("Steps:")
    if not found:
        return Told("a1111", prompt=_text(text))
    settings = {name: _unquoted(value) for name, value in _SETTING.findall(f"Steps:{line}"[:LONGEST_LINE])}
    prompt, _, negative = above.strip().partition("Negative prompt:")
    width, _, height = settings.get("Size", "").partition("x")
    return Told(
        "a1111",
        prompt=_text(prompt.strip()),
        negative_prompt=_text(negative.strip()) or None,
        seed=_count(settings.get("Seed")),
        steps=_count(settings.get("Steps")),
        guidance=_number(settings.get("CFG scale")),
        sampler=_text(settings.get("Sampler")),
        model=_text(settings.get("Model")),
        width=_count(width),
        height=_count(height),
    )


def _of_swarm(said: Mapping[str, Any]) -> Told:
    return Told(
        "swarmui",
        prompt=_text(said.get("prompt")),
        negative_prompt=_text(said.get("negativeprompt")) or None,
        seed=_count(said.get("seed")),
        steps=_count(said.get("steps")),
        guidance=_number(said.get("cfgscale")),
        sampler=_text(said.get("sampler")),
        model=_text(said.get("model")),
        width=_count(said.get("width")),
        height=_count(said.get("height")),
    )


def _of_invoke(data: object) -> Told:
    said = _mapping(data)
    model = _mapping(said.get("model"))
    return Told(
        "invokeai",
        prompt=_text(said.get("positive_prompt")),
        negative_prompt=_text(said.get("negative_prompt")) or None,
        seed=_count(said.get("seed")),
        steps=_count(said.get("steps")),
        guidance=_number(said.get("cfg_scale")),
        sampler=_text(said.get("scheduler")),
        model=_text(model.get("name") or model.get("model_name")),
        width=_count(said.get("width")),
        height=_count(said.get("height")),
    )


def _of_early_invoke(data: object) -> Told:
    said = _mapping(data)
    image = _mapping(said.get("image"))
    prompt = image.get("prompt")
    if isinstance(prompt, list) and prompt:
        prompt = _mapping(prompt[0]).get("prompt")
    return Told(
        "invokeai",
        prompt=_text(prompt),
        seed=_count(image.get("seed")),
        steps=_count(image.get("steps")),
        guidance=_number(image.get("cfg_scale")),
        sampler=_text(image.get("sampler")),
        model=_text(said.get("model_weights")),
        width=_count(image.get("width")),
        height=_count(image.get("height")),
    )


def _of_comfy(data: object) -> Told:
    """The first node that samples, and what its inputs lead to."""
    nodes = _mapping(data)
    samplers = (_inputs(nodes, name) for name in nodes if "KSampler" in str(_mapping(nodes[name]).get("class_type")))
    found = next((inputs for inputs in samplers if "steps" in inputs), {})
    latent = _inputs(nodes, _linked(found.get("latent_image")))
    return Told(
        "comfyui",
        prompt=_followed(nodes, found.get("positive"), "text"),
        negative_prompt=_followed(nodes, found.get("negative"), "text") or None,
        seed=_count(found.get("seed", found.get("noise_seed"))),
        steps=_count(found.get("steps")),
        guidance=_number(found.get("cfg")),
        sampler=_text(found.get("sampler_name")),
        model=_followed(nodes, found.get("model"), "ckpt_name"),
        width=_count(latent.get("width")),
        height=_count(latent.get("height")),
    )


def _followed(nodes: Mapping[str, Any], link: object, name: str) -> str | None:
    """The first text called `name` on the way up from a link, always by the first link of a node."""
    for _ in range(FARTHEST):
        inputs = _inputs(nodes, _linked(link))
        if isinstance(inputs.get(name), str):
            return _text(inputs[name])
        link = next((value for value in inputs.values() if _linked(value)), None)
    return None


def _linked(link: object) -> str:
    """The name of the node a link [name, output] comes from."""
    return link[0] if isinstance(link, list) and len(link) == 2 and isinstance(link[0], str) else ""


def _inputs(nodes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _mapping(_mapping(nodes.get(name)).get("inputs"))


# ------------------------------------------------------------------------------------------------- a stranger's word


def _json(text: str) -> object:
    try:
        return json.loads(text) if len(text) <= LONGEST_JSON else None
    except (ValueError, RecursionError):
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value[:LONGEST_PROMPT] if isinstance(value, str) else None


def _unquoted(value: str) -> str:
    read = _json(value) if value.startswith('"') else value
    return read if isinstance(read, str) else value


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and abs(number) < 1e6 else None


def _count(value: object) -> int | None:
    """A whole number from 0 to 2^64; seeds of -1 mean chance, so they say nothing."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64
    return value if is_count and isinstance(value, int) else None

"""The preset that draws a picture again, from what the picture says of itself."""

import yaml

from engine.contract.image_record import ImageRecord, Picture

#: Number formats that a preset may name; anything else a record says is left to the engine.
DTYPES = {"float32", "bfloat16", "float16"}
AGAIN = "# Draws one picture again, to the last bit on the same machine."
OTHERWISE = "# The same noise as one picture: change what you like below, and see what it changes."


def drawn_again(record: ImageRecord) -> str:
    """A diffusion_sample preset that makes the picture itself."""
    section = _section(record) | {"count": 1, "among": {"rows": record.rows, "place": record.place}}
    return _written(AGAIN, record, section)


def with_its_seed(record: ImageRecord) -> str:
    """A diffusion_sample preset of the same noise, to be changed."""
    return _written(OTHERWISE, record, _section(record) | {"count": 1})


def name_of(record: ImageRecord) -> str:
    """What the preset is called."""
    return f"seed{record.seed}-{record.index}"


def why_not(name: str, picture: Picture) -> str:
    """One sentence on a PNG that has no record of ours; "" if it has one."""
    if picture.record is not None:
        return ""
    if picture.told.tool or picture.told.prompt:
        by = f" was drawn by {picture.told.tool}, so" if picture.told.tool else " comes from another program:"
        return f"{name}{by} it does not say all that it takes to draw it again here."
    return f"{name} does not say how it was drawn; pictures of diffusion_sample do."


def _section(record: ImageRecord) -> dict[str, object]:
    made: dict[str, object] = {"sampler": record.sampler, "steps": record.steps}
    if record.sampler == "ddim":
        made["eta"] = record.eta
    made["guidance"] = record.guidance
    if record.label is not None:
        made["classes"] = [record.label]
    if record.prompt is not None:
        made["prompts"] = [record.prompt]
    if record.negative_prompt:
        made["negative_prompt"] = record.negative_prompt
    return made | {"seeds": [record.seed], "first": record.index, "width": record.width, "height": record.height}


def _written(head: str, record: ImageRecord, section: dict[str, object]) -> str:
    """YAML, every text of the record as data, so that nothing a stranger wrote becomes a key."""
    model: dict[str, object] = {"path": record.model}
    if record.dtype in DTYPES:
        model["dtype"] = record.dtype
    preset = {
        "method": "diffusion_sample",
        "name": name_of(record),
        "model": model,
        "diffusion_sample": section,
    }
    return f"{head}\n{yaml.safe_dump(preset, sort_keys=False, allow_unicode=True, width=100)}"

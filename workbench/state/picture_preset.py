"""The preset that draws a picture again, from what the picture says of itself."""

from typing import Any

from engine.contract.drawing_again import again, with_its_noise
from engine.contract.image_record import ImageRecord, Picture
from engine.contract.strict_yaml import dump_yaml

AGAIN = "# Draws one picture again, to the last bit on the same machine."
OTHERWISE = "# The same noise as one picture: change what you like below, and see what it changes."


def drawn_again(record: ImageRecord) -> str:
    """A diffusion_sample preset that makes the picture itself."""
    return _written(AGAIN, again(record))


def with_its_seed(record: ImageRecord) -> str:
    """A diffusion_sample preset of the same noise, to be changed."""
    return _written(OTHERWISE, with_its_noise(record))


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


def _written(head: str, preset: dict[str, Any]) -> str:
    """YAML, every text of the record as data, so that nothing a stranger wrote becomes a key."""
    return f"{head}\n{dump_yaml(preset)}"

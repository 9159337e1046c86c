"""Presets of the methods that learn from images or draw them. `preset.py` joins them to the others."""

from typing import Literal

from pydantic import BaseModel

from engine.contract import image_settings, settings
from engine.contract.settings import NAME, SEED, STRICT


class DenoiserPreset(BaseModel, **STRICT):
    method: Literal["denoiser"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ImageModel
    data: image_settings.ImageData
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    denoiser: image_settings.Denoiser = image_settings.Denoiser()


ImagePreset = DenoiserPreset

#: The class behind each value of `method:`.
IMAGE_PRESETS: dict[str, type[ImagePreset]] = {
    "denoiser": DenoiserPreset,
}

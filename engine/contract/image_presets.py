"""Presets of the methods that learn from images or draw them. `preset.py` joins them to the others."""

from typing import Literal

from pydantic import BaseModel

from engine.contract import image_settings, sampler_settings, scorer_settings, settings
from engine.contract.drawing_settings import DiffusionSample
from engine.contract.settings import NAME, SEED, STRICT, setting
from engine.contract.tuning_presets import TUNING_PRESETS, TuningPreset


class DenoiserPreset(BaseModel, **STRICT):
    method: Literal["denoiser"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ImageModel
    data: image_settings.ImageData
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    denoiser: image_settings.Denoiser = image_settings.Denoiser()


class SamplerProofPreset(BaseModel, **STRICT):
    method: Literal["sampler_proof"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ImageModel | None = setting(
        None, "prove samplers on the schedule of this model; empty = on the one named below"
    )
    sampler_proof: sampler_settings.SamplerProof = sampler_settings.SamplerProof()


class ToyDiffusionPreset(BaseModel, **STRICT):
    method: Literal["toy_diffusion"]
    name: str | None = NAME
    seed: int = SEED
    model: sampler_settings.ToyNetwork = sampler_settings.ToyNetwork()
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    toy_diffusion: sampler_settings.ToyDiffusion = sampler_settings.ToyDiffusion()


class ImageClassifierPreset(BaseModel, **STRICT):
    method: Literal["image_classifier"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ClassifierModel
    data: image_settings.ImageData
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    image_classifier: image_settings.ImageClassifier = image_settings.ImageClassifier()


class VaePreset(BaseModel, **STRICT):
    method: Literal["vae"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.VaeModel
    data: image_settings.ImageData
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    vae: image_settings.Vae = image_settings.Vae()


class DiffusionSamplePreset(BaseModel, **STRICT):
    method: Literal["diffusion_sample"]
    name: str | None = NAME
    seed: int = SEED
    model: image_settings.ImageModel
    diffusion_sample: DiffusionSample = DiffusionSample()


class ImageRewardModelPreset(BaseModel, **STRICT):
    method: Literal["image_reward_model"]
    name: str | None = NAME
    seed: int = SEED
    model: scorer_settings.ScorerModel
    data: image_settings.ImageData
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    image_reward_model: scorer_settings.ImageRewardModel = scorer_settings.ImageRewardModel()


ImagePreset = (
    DenoiserPreset
    | VaePreset
    | ImageClassifierPreset
    | SamplerProofPreset
    | ToyDiffusionPreset
    | DiffusionSamplePreset
    | TuningPreset
    | ImageRewardModelPreset
)

#: The class behind each value of `method:`.
IMAGE_PRESETS: dict[str, type[ImagePreset]] = {
    "denoiser": DenoiserPreset,
    "sampler_proof": SamplerProofPreset,
    "toy_diffusion": ToyDiffusionPreset,
    "vae": VaePreset,
    "image_classifier": ImageClassifierPreset,
    "diffusion_sample": DiffusionSamplePreset,
    "image_reward_model": ImageRewardModelPreset,
    **TUNING_PRESETS,
}

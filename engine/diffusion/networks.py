"""Denoising networks: from what ships, a folder, a run or the hub; saved as plain diffusers folders.

Weights are read from safetensors alone. A folder holds `unet/` and `scheduler/`, `vae/` or `vqvae/` where the network
works in latents, and `model_index.json`, which `DiffusionPipeline.from_pretrained` of diffusers asks for.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel, UNet2DModel
from diffusers import __version__ as diffusers_version
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.checkpoint import newest_whole
from engine.contract.run_dir import RunDir, is_run_dir
from engine.diffusion.averaging import Average
from engine.diffusion.prediction import to_eps
from engine.diffusion.schedules import Schedule, alpha_bar, schedule_of
from engine.diffusion.stepping import Predict
from engine.diffusion.worded import Worded

Condition = Literal["none", "class", "text"]
#: What latents are decoded with, by the names that the pipelines of diffusers have for it.
VAE_FOLDERS = ("vae", "vqvae")
UNET_CLASSES = {"UNet2DModel": UNet2DModel, "UNet2DConditionModel": UNet2DConditionModel}


#: What diffusers calls the pipeline of a model that is asked in words.
TEXT_PIPELINE = "StableDiffusionPipeline"


class ImageModelError(ValueError):
    """A model that cannot be used, in words for a person."""


@dataclass
class ImageModel:
    """A denoiser. unet: what is trained. schedule: the configuration of a diffusers scheduler, `prediction_type` in it.

    condition: what it can be asked for; of `classes` classes, the number `classes` itself means none in particular.
    vae: turns latents into pixels; None where the network works on pixels. average: of its weights, if one is kept.
    readers: tokenizer and text encoder by their names in the pipeline, where it is asked in words.
    worded: the network with its encoder before it, where it learns from captions.
    """

    unet: UNet2DModel | UNet2DConditionModel
    schedule: dict[str, Any]
    condition: Condition
    classes: int = 0
    vae: AutoencoderKL | None = None
    average: Average | None = None
    readers: Mapping[str, Any] = field(default_factory=dict)
    worded: Worded | None = None

    @property
    def network(self) -> nn.Module:
        found: nn.Module = self.worded or self.unet
        return found

    @property
    def trained(self) -> nn.Module:
        """What of the network learns: an encoder that was opened does not."""
        found: nn.Module = self.worded if self.worded is not None and self.worded.learns else self.unet
        return found

    @property
    def pixels(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        if self.vae is None:
            return self.shape
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        return int(self.vae.config.in_channels), self.shape[1] * factor, self.shape[2] * factor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network denoises: pixels, or latents."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        return int(self.unet.config.in_channels), int(height), int(width)

    @cached_property
    def noise_schedule(self) -> Schedule:
        """The schedule as a table. Raises ScheduleError if it is none of those there are."""
        return schedule_of(self.schedule)

    def output(self, network: nn.Module, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """What the network says of x, (N, C, H, W), at timesteps t, (N,): noise, image or v, as it was trained.

        network: `network`, or what accelerate made of it. condition: classes, (N,), tokens, (N, T), where it has its
        encoder before it, or encoded text, (N, T, D).
        """
        if self.worded is not None:
            found: Tensor = network(x, t, condition)
        elif self.condition == "text":
            found = network(x, t, encoder_hidden_states=condition).sample
        else:
            found = network(x, t, class_labels=condition if self.condition == "class" else None).sample
        return found

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """What the network denoises, of pixels in [-1, 1]: themselves, or scaled latents.

        noise: of the latents' shape, draws them from the VAE's posterior; without it, its mean.
        """
        if self.vae is None:
            return pixels
        law = self.vae.encode(pixels).latent_dist
        latents: Tensor = law.mean if noise is None else law.mean + law.std * noise
        return latents * float(self.vae.config.scaling_factor)

    def decode(self, x: Tensor) -> Tensor:
        """Pixels, about in [-1, 1], of what the network denoises."""
        if self.vae is None:
            return x
        decoded: Tensor = self.vae.decode(x / float(self.vae.config.scaling_factor)).sample
        return decoded

    def follow(self, step: int) -> None:
        """Take the weights after `step`, 0 before the first, into the average, if one is kept."""
        if self.average is not None and step:
            self.average.follow(self.trained)

    def memory(self) -> dict[str, float]:
        """What a checkpoint keeps beside the weights; `recall` takes it back."""
        return {} if self.average is None else {"average_steps": self.average.steps}

    def recall(self, kept: dict[str, float]) -> None:
        if self.average is not None:
            self.average.steps = int(kept["average_steps"])

    def averaged(self) -> AbstractContextManager[None]:
        """Within it, the network has the averaged weights, if an average is kept."""
        return nullcontext() if self.average is None else self.average.in_place_of(self.trained)

    def save(self, folder: Path) -> None:
        """A folder that diffusers opens, with the averaged weights where there is an average. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        with self.averaged():
            self.unet.save_pretrained(str(folder / "unet"))
            for name, part in self.readers.items():
                part.save_pretrained(str(folder / name))
        _write_json(folder / "scheduler" / "scheduler_config.json", self.schedule)
        if self.vae is not None:
            self.vae.save_pretrained(str(folder / self._vae_folder))
        _write_json(folder / "model_index.json", self._index())

    def state(self) -> dict[str, Tensor]:
        """The weights that training goes on from, where the saved ones are averages."""
        if self.average is None:
            return {}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.trained.state_dict().items()}

    def restore(self, folder: Path, state: dict[str, Tensor]) -> None:
        saved = weights_of(folder / "unet")
        if self.trained is self.worded:
            parts = {"unet.": saved, "encoder.": weights_of(folder / "text_encoder")}
            saved = {f"{part}{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
        self.trained.load_state_dict(state or saved)
        if self.average is not None:
            self.average.take(self.trained, saved)

    @property
    def _vae_folder(self) -> str:
        """As the pipeline that opens what is saved calls it."""
        return "vae" if self.readers else "vqvae"

    def _index(self) -> dict[str, Any]:
        """What a pipeline of diffusers is made of. Those for classes take them as a call of the network does."""
        parts = {"unet": type(self.unet).__name__, "scheduler": str(self.schedule["_class_name"])}
        if self.vae is not None:
            parts = {self._vae_folder: type(self.vae).__name__, **parts}
        pipeline = "DDIMPipeline" if self.vae is None else "LDMPipeline"
        named: dict[str, Any] = {name: ["diffusers", kind] for name, kind in parts.items()}
        if self.readers:
            pipeline = TEXT_PIPELINE
            named |= {name: ["transformers", type(part).__name__] for name, part in self.readers.items()}
            named["requires_safety_checker"] = False  # none is opened, so there is none to save
            named |= {} if self.vae is not None else {"vae": [None, None]}
        return {"_class_name": pipeline, "_diffusers_version": diffusers_version, **named}


def predictor(model: ImageModel, condition: Tensor | None) -> Predict:
    """The model as samplers see it: x (N, C, H, W), t (N,) -> noise (N, C, H, W). condition: one for each image."""
    schedule = model.noise_schedule

    def predict(x: Tensor, t: Tensor) -> Tensor:
        output = model.output(model.network, x, t, condition)
        if schedule.prediction == "epsilon":
            return output
        return to_eps(x, output, alpha_bar(schedule, t), schedule.prediction)

    return predict


def open_folder(path: str, vae: AutoencoderKL | None = None) -> ImageModel:
    """A model from a folder, a run directory or the hub, on the CPU. Raises ImageModelError."""
    here = locate(path)
    try:
        config = UNet2DModel.load_config(here, subfolder="unet")
        kind = UNET_CLASSES[config["_class_name"]]
        unet = kind.from_pretrained(here, subfolder="unet", use_safetensors=True)
        schedule = dict(DDIMScheduler.load_config(here, subfolder="scheduler"))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ImageModelError(_why_not(path, error)) from error
    schedule = {name: value for name, value in schedule.items() if name not in ("_diffusers_version",)}
    if vae is None:
        vae = next((open_vae(here, folder) for folder in VAE_FOLDERS if (Path(here) / folder).is_dir()), None)
    if isinstance(unet, UNet2DConditionModel):
        return ImageModel(unet, schedule, "text", vae=vae)
    embedded = unet.config.num_class_embeds
    return ImageModel(unet, schedule, "class" if embedded else "none", max(0, (embedded or 0) - 1), vae)


def open_vae(path: str, folder: str | None = None) -> AutoencoderKL:
    """A VAE from a folder, run directory or the hub, or from a folder within. Raises ImageModelError."""
    here = locate(path)
    within = folder or next((name for name in VAE_FOLDERS if (Path(here) / name / "config.json").is_file()), None)
    try:
        vae = AutoencoderKL.from_pretrained(here, subfolder=within, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageModelError(_why_not(path, error)) from error
    vae.requires_grad_(requires_grad=False)
    return vae.eval()


def locate(path: str) -> str:
    """The folder that `path` names; of a run directory, its newest model. A hub id stays. Raises ImageModelError."""
    here = Path(path)
    if not is_run_dir(here):
        return path
    run = RunDir(here)
    if run.final.is_dir():
        return str(run.final)
    newest = newest_whole(run)
    if newest is None:
        raise ImageModelError(f"{here.name} has no model yet: no whole checkpoint and no final/")
    return str(newest)


def weights_of(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the safetensors files in a folder."""
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def _write_json(file: Path, values: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def _why_not(path: str, error: Exception) -> str:
    here = Path(path)
    if here.is_dir() and any(here.rglob("*.bin")) and not any(here.rglob("*.safetensors")):
        return (
            f"{path} has its weights as pickles alone, which run code when they are read\n"
            "convert them to safetensors where you trust them, with `save_pretrained` of diffusers"
        )
    told = " ".join(str(error).split())
    return f"{path} cannot be opened as a model of images: {told[:300]}\nname a folder that diffusers wrote"

"""A model that is tuned, beside what it began as: the policy, the reference, and for some an older policy.

What is trained is the whole network or LoRA's matrices in it. The reference is a frozen copy, or the network with the
adapter switched off. What is saved is a plain folder of diffusers in both cases, with an adapter merged into it.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from engine.contract import image_settings
from engine.diffusion.networks import TEXT_PIPELINE, ImageModel, ImageModelError, locate
from engine.diffusion.opening import open_image_model
from engine.diffusion.pipelines import is_asked_in_words, open_text_model
from engine.diffusion.prediction import to_eps
from engine.diffusion.schedules import Schedule, alpha_bar, schedule_of
from engine.diffusion.stepping import Predict
from engine.diffusion.text_painter import Captions

#: What is asked for: a class, a caption, or nothing in particular.
Prompt = int | str | None

#: How the weights of policy and older policy are called in a checkpoint.
NOW, OLD = "now.", "old."
#: The layers of attention in the U-Nets of diffusers.
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
#: Numbers in all images in memory at once where nobody says how many: of 512 x 512 pixels they are five.
NUMBERS_AT_ONCE = 2**22


@dataclass
class TunedModel:
    """model: the policy's. schedule: for steps that are learned from; see `to_tune`.

    reference: a frozen copy of the network; None where the adapter is switched off instead.
    tuner: the adapter, or None. encode: captions -> what the network reads of them; None where it reads none.
    old: an older policy's trained weights by name, where a method keeps one. saves_old: whether that is what is saved.
    """

    model: ImageModel
    schedule: Schedule
    reference: nn.Module | None
    tuner: LoraModel | None = None
    encode: Callable[[Sequence[str]], Tensor] | None = None
    old: dict[str, Tensor] | None = None
    saves_old: bool = False

    @property
    def network(self) -> nn.Module:
        return self.model.network

    # ------------------------------------------------------------------------------------------------- predicting

    def predict(self, network: nn.Module, prompts: Sequence[Prompt], guidance: float = 1.0) -> Predict:
        """The policy as samplers and losses see it. network: of the model, as accelerate wrapped it or bare."""
        wanted = self.condition(prompts)
        nothing = None if guidance == 1 else self.condition([None] * len(prompts))

        def ask(x: Tensor, t: Tensor) -> Tensor:
            output = self.model.output(network, x, t, wanted)
            if guidance != 1:  # of outputs: the noise they mean is linear in them
                without = self.model.output(network, x, t, nothing)
                output = without + guidance * (output - without)
            return to_eps(x, output, alpha_bar(self.schedule, t), self.schedule.prediction)

        return ask

    def predict_as_reference(self, prompts: Sequence[Prompt], guidance: float = 1.0) -> Predict:
        """What the model began as; without gradient."""
        ask = self.predict(self.reference or self.network, prompts, guidance)

        @torch.no_grad()
        def asked(x: Tensor, t: Tensor) -> Tensor:
            with self.without_adapter():
                return ask(x, t)

        return asked

    def predict_as_old(self, prompts: Sequence[Prompt], guidance: float = 1.0) -> Predict:
        """The older policy; without gradient."""
        ask = self.predict(self.network, prompts, guidance)

        @torch.no_grad()
        def asked(x: Tensor, t: Tensor) -> Tensor:
            with self.old_in_place():
                return ask(x, t)

        return asked

    def condition(self, prompts: Sequence[Prompt]) -> Tensor | None:
        """What the network reads of prompts. Raises ImageModelError for one that it cannot be asked."""
        device = next(self.network.parameters()).device
        match self.model.condition:
            case "class":
                return torch.tensor([self._class_of(prompt) for prompt in prompts], device=device)
            case "text":
                if self.encode is None:
                    raise ImageModelError("the model is asked in words, and its folder has no text encoder")
                return self.encode([self._caption_of(prompt) for prompt in prompts])
        if any(prompt is not None for prompt in prompts):
            raise ImageModelError("the model can be asked for nothing in particular alone; leave rollout.prompts empty")
        return None

    def _class_of(self, prompt: Prompt) -> int:
        classes = self.model.classes
        if prompt is None:
            return classes
        if isinstance(prompt, str) or not 0 <= prompt <= classes:
            raise ImageModelError(f"{prompt!r} is none of the model's classes, which are 0 to {classes - 1}")
        return prompt

    @staticmethod
    def _caption_of(prompt: Prompt) -> str:
        if isinstance(prompt, int):
            raise ImageModelError(f"{prompt} is a class, and the model is asked in words; write a caption")
        return prompt or ""

    @property
    def usual_schedule(self) -> Schedule:
        """As the model is drawn with, for images that are only looked at."""
        return schedule_of(self.model.schedule)

    @property
    def every_prompt(self) -> list[Prompt]:
        """Each class in turn; for a model without classes nothing in particular.

        Raises ImageModelError where it is asked in words: nobody knows what they would be.
        """
        if self.model.condition == "text":
            raise ImageModelError(
                "the model is asked in words, and the preset has none\nwrite what to draw as rollout.prompts, or, where"
                " rewards judge pairs, as judged.prompts"
            )
        return [*range(self.model.classes)] if self.model.condition == "class" else [None]

    def at_once(self, most: int) -> int:
        """Images in memory at once where nobody says how many; of small ones `most`."""
        return max(1, min(most, NUMBERS_AT_ONCE // math.prod(self.model.pixels)))

    def latents(self, pixels: Tensor) -> Tensor:
        """What the network denoises, of pixels in [-1, 1]."""
        return torch.cat([self.model.encode(part) for part in pixels.split(self.at_once(len(pixels)))])

    def pixels(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] of what the network denoises."""
        return self.model.decode(x).clamp(-1, 1)

    # --------------------------------------------------------------------------------------------- other policies

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Within it, the network is what it began as, if it has an adapter."""
        layers = [] if self.tuner is None else [m for m in self.network.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The weights that learn, by name."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def keep_old(self, *, saves_old: bool = False) -> None:
        """Begin to keep an older policy: what the policy is now. saves_old: it is what is drawn with in the end."""
        self.saves_old = saves_old
        self.old = {name: p.detach().clone() for name, p in self.trained.items()}

    @torch.no_grad()
    def age(self, share: float) -> None:
        """Let the older policy follow: so much of it stays, the rest is the policy's."""
        assert self.old is not None  # noqa: S101 - a method that ages it keeps it
        for name, p in self.trained.items():
            self.old[name].lerp_(p.detach(), 1 - share)

    @contextmanager
    def old_in_place(self) -> Iterator[None]:
        """Within it, the network has the older policy's weights."""
        trained, own = self.trained, {}
        for name, p in trained.items():
            own[name], p.data = p.data, (self.old or {})[name]
        try:
            yield
        finally:
            for name, p in trained.items():
                p.data = own[name]

    # ---------------------------------------------------------------------------------------------------- keeping

    def save(self, folder: Path) -> None:
        """A folder that diffusers opens, an adapter merged into the weights. Raises OSError."""
        with self.old_in_place() if self.saves_old else nullcontext():
            if self.tuner is None:
                self.model.save(folder)
                return
            merged = copy.copy(self.model)
            merged.unet = copy.deepcopy(self.tuner).merge_and_unload()
            merged.save(folder)

    def state(self) -> dict[str, Tensor]:
        """What training goes on from and `save` does not write: an adapter by itself, an older policy, or the policy
        where the older one is what is saved."""
        is_beside = self.tuner is not None or self.saves_old
        found = {f"{NOW}{name}": p.detach() for name, p in self.trained.items()} if is_beside else {}
        found |= {f"{OLD}{name}": tensor for name, tensor in (self.old or {}).items()}
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}

    def restore(self, folder: Path, state: dict[str, Tensor]) -> None:
        """Go back to what `save` wrote and `state` gave."""
        if self.tuner is None:
            self.model.restore(folder, {})
        for name, p in self.trained.items():
            if NOW + name in state:
                p.data.copy_(state[NOW + name])
            if self.old is not None:
                self.old[name].copy_(state[OLD + name])


def open_to_tune(section: image_settings.ImageModel, *, device: torch.device, seed: int) -> TunedModel:
    """The model that a preset names, ready to be tuned. Raises ImageModelError."""
    path = locate(section.path)
    if path == "scratch" or not is_asked_in_words(path):
        return to_tune(open_image_model(section, device=device, seed=seed), section.adapter, seed=seed)
    model, reader = open_text_model(section, path, device=device, dtype=torch.float32)
    if len(reader.encoders) > 1:
        problem = f"{section.path} has two text encoders, as SDXL; it can be drawn with, and not be tuned"
        raise ImageModelError(f"{problem}\nname a model of the kind {TEXT_PIPELINE}")
    tuned = to_tune(model, section.adapter, seed=seed)
    tuned.encode = Captions(reader)
    return tuned


def to_tune(model: ImageModel, adapter: image_settings.Lora | None, *, seed: int) -> TunedModel:
    """A model made ready: its adapter put in, or its reference kept. Dropout is off, in sampling and learning alike.

    On the way to an image nothing is clipped, see paths.py, and timesteps are spaced so that the last step, which is no
    action, is as wide as the others. With the usual spacing an action is left that ends all but clean: it draws next to
    nothing, so its density is so steep that nearly all gradient and KL were its own (99 % for ten steps of digits).
    Raises ImageModelError.
    """
    model.unet.eval()
    schedule = schedule_of(model.schedule)._replace(clip=None, spacing="trailing")
    if adapter is None:
        reference = copy.deepcopy(model.unet).requires_grad_(requires_grad=False)
        return TunedModel(model, schedule, reference)
    return TunedModel(model, schedule, None, _with_lora(model.unet, adapter, seed))


def _with_lora(unet: nn.Module, adapter: image_settings.Lora, seed: int) -> LoraModel:
    """LoRA's matrices, put into the network itself. Raises ImageModelError where no layer fits."""
    targets: Any = ATTENTION if adapter.targets == "attention" else _layers(unet)
    config = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=0.0, target_modules=targets)
    unet.requires_grad_(requires_grad=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            return LoraModel(unet, {"default": config}, "default")
        except ValueError as error:
            remedy = "set model.adapter.targets to all"
            raise ImageModelError(f"the network has no attention for the adapter to stand beside; {remedy}") from error


def _layers(unet: nn.Module) -> list[str]:
    """Every linear and convolutional layer."""
    return [name for name, layer in unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]

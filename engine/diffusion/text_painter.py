"""A U-Net that reads text, as Stable Diffusion's: its prompts bound in, so that any sampler here draws with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from engine.diffusion.guidance import guided
from engine.diffusion.networks import ImageModel
from engine.diffusion.painters import Asked, latent_side, scale_of
from engine.diffusion.prediction import to_eps
from engine.diffusion.schedules import alpha_bar
from engine.diffusion.stepping import Predict
from engine.diffusion.worded import reads_mask

#: Captions that are kept encoded; so many of Stable Diffusion's take half a gigabyte.
MOST_CAPTIONS = 2048


class Text(NamedTuple):
    """A prompt as a U-Net reads it. states: (1, T, D). pooled: (1, P), of the whole, or None where it has no use."""

    states: Tensor
    pooled: Tensor | None


@dataclass(frozen=True)
class Reader:
    """The text encoders of a pipeline, one, or both of SDXL."""

    tokenizers: Sequence[Any]
    encoders: Sequence[nn.Module]
    zeros_if_empty: bool = False

    @torch.no_grad()
    def read(self, prompt: str, *, is_negative: bool = False) -> Text:
        """A prompt, by itself: then it is the same numbers whoever else is drawn."""
        found = [self._read(*pair, prompt) for pair in zip(self.tokenizers, self.encoders, strict=True)]
        if len(found) == 1:
            return Text(found[0].last_hidden_state.float(), None)
        # SDXL (2307.01952): the last but one layer of both, side by side; the second's own summary.
        states = torch.cat([each.hidden_states[-2] for each in found], dim=-1).float()
        pooled = found[1].text_embeds.float()
        if is_negative and self.zeros_if_empty and not prompt:
            return Text(torch.zeros_like(states), torch.zeros_like(pooled))
        return Text(states, pooled)

    def _read(self, tokenizer: Any, encoder: nn.Module, prompt: str) -> Any:
        longest = tokenizer.model_max_length
        read = tokenizer(prompt, padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
        device = next(encoder.parameters()).device
        mask = read.attention_mask.to(device) if reads_mask(encoder) else None
        return encoder(read.input_ids.to(device), attention_mask=mask, output_hidden_states=len(self.encoders) > 1)


@dataclass(frozen=True)
class Captions:
    """What a network that is tuned reads of captions; each is encoded once, as far as there is room for them."""

    reader: Reader
    known: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """(N, T, D) of N captions, the empty one among them: it is what guidance pulls away from."""
        return torch.cat([self._states(caption) for caption in captions])

    def _states(self, caption: str) -> Tensor:
        if caption in self.known:
            return self.known[caption]
        device = next(self.reader.encoders[0].parameters()).device
        # In full numbers, so that they are the same wherever in a run a caption is first met.
        with torch.autocast(device.type, enabled=False):
            states = self.reader.read(caption).states
        if len(self.known) < MOST_CAPTIONS:
            self.known[caption] = states
        return states


@dataclass(frozen=True)
class TextPainter:
    """A U-Net that reads text, on latents or pixels. See Painter."""

    model: ImageModel
    reader: Reader
    preview: Callable[[Tensor], Tensor]
    read: dict[tuple[str, bool], Text] = field(default_factory=dict)

    classes = 0
    reads_text = True

    @property
    def network(self) -> nn.Module:
        return self.model.network

    @property
    def config(self) -> Mapping[str, Any]:
        return self.model.schedule

    @property
    def is_latent(self) -> bool:
        return self.model.vae is not None

    def shape(self, width: int | None, height: int | None) -> tuple[int, int, int]:
        channels, usual_height, usual_width = self.model.shape
        scale = scale_of(self.model.vae)
        return channels, latent_side(height, usual_height, scale), latent_side(width, usual_width, scale)

    def predict(self, asked: Asked) -> Predict:
        wanted = self._texts([prompt or "" for prompt in asked.prompts], is_negative=False)
        unwanted = self._texts([asked.negative_prompt] * len(asked.prompts), is_negative=True)
        return guided(self._predictor(wanted), self._predictor(unwanted), asked.guidance)

    def decode(self, x: Tensor) -> Tensor:
        return self.model.decode(x.float())

    def look(self, x: Tensor) -> Tensor:
        return self.preview(x)

    def _texts(self, prompts: Sequence[str], *, is_negative: bool) -> Text:
        for prompt in prompts:
            if (prompt, is_negative) not in self.read:
                self.read[prompt, is_negative] = self.reader.read(prompt, is_negative=is_negative)
        found = [self.read[prompt, is_negative] for prompt in prompts]
        pooled = [text.pooled for text in found if text.pooled is not None]
        return Text(torch.cat([text.states for text in found]), torch.cat(pooled) if pooled else None)

    def _predictor(self, text: Text) -> Predict:
        scale, unet, schedule = scale_of(self.model.vae), self.model.unet, self.model.noise_schedule

        def predict(x: Tensor, t: Tensor) -> Tensor:
            more = {} if text.pooled is None else {"added_cond_kwargs": _sized(text.pooled, x, scale)}
            states = text.states.to(unet.dtype)
            output = unet(x.to(unet.dtype), t, encoder_hidden_states=states, **more).sample.float()
            return to_eps(x, output, alpha_bar(schedule, t), schedule.prediction)

        return predict


def _sized(pooled: Tensor, x: Tensor, scale: int) -> dict[str, Tensor]:
    """SDXL is told the size it draws, uncropped (2307.01952, section 2.2)."""
    height, width = (scale * side for side in x.shape[-2:])
    times = torch.tensor([[height, width, 0, 0, height, width]], device=x.device).repeat(len(x), 1)
    return {"text_embeds": pooled, "time_ids": times}

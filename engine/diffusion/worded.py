"""A U-Net with the encoder of its captions before it: what learns where images have captions."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn


class Worded(nn.Module):
    """Reads captions and denoises. learns: whether the encoder is trained, too; if not, it stays as it came."""

    def __init__(self, unet: nn.Module, tokenizer: Any, encoder: nn.Module, *, learns: bool) -> None:
        super().__init__()
        self.unet, self.encoder = unet, encoder
        self.tokenizer, self.learns = tokenizer, learns
        encoder.requires_grad_(requires_grad=learns)

    def ids(self, captions: Sequence[str]) -> Tensor:
        """Tokens of N captions, (N, T), every one padded or cut to the T that the tokenizer says. "" asks nothing."""
        longest = self.tokenizer.model_max_length
        read = self.tokenizer(
            list(captions), padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        )
        found: Tensor = read.input_ids
        return found

    def is_cut(self, caption: str) -> bool:
        """Whether the end of a caption is not read."""
        longest: int = self.tokenizer.model_max_length
        return len(self.tokenizer(caption).input_ids) > longest

    def forward(self, x: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """What the U-Net says of x, (N, C, H, W), at timesteps t, (N,). ids: (N, T), of each image's caption."""
        found: Tensor = self.unet(x, t, encoder_hidden_states=self._states(ids)).sample
        return found

    def train(self, mode: bool = True) -> "Worded":
        """A frozen encoder has no dropout, ever."""
        super().train(mode)
        self.encoder.train(mode and self.learns)
        return self

    def _states(self, ids: Tensor) -> Tensor:
        """(N, T, D). Captions that several images share are read once."""
        different, which = ids.unique(dim=0, return_inverse=True)
        mask = (different != self.tokenizer.pad_token_id).long() if reads_mask(self.encoder) else None
        with nullcontext() if self.learns else torch.no_grad():
            states: Tensor = self.encoder(different, attention_mask=mask).last_hidden_state
        return states[which]


def reads_mask(encoder: nn.Module) -> bool:
    """Whether an encoder is told which tokens are padding: not CLIP's. Pipelines of diffusers ask the same setting."""
    return bool(getattr(encoder.config, "use_attention_mask", False))

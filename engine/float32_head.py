"""The head in float32 where the rest of the model computes in less.

Sampler and trainer round a logit in bfloat16 each in their own way, and a ratio is an exponential of the difference.
ScaleRL (arXiv:2510.13786, section 3.2) reports that this one layer moved what its runs could reach in the end.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine import virtual_tokens


def head_in_float32(model: nn.Module) -> None:
    """Let a model's logits be computed in float32 from here on, by whoever asks it for them."""
    head: Any = virtual_tokens.base_of(model).get_output_embeddings()

    def forward(hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            bias = None if head.bias is None else head.bias.float()
            return F.linear(hidden.float(), head.weight.float(), bias)

    head.forward = forward

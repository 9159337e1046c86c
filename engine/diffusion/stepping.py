"""What all samplers share: what they ask, and what they tell after each step."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

#: A denoiser as samplers see it, its condition and guidance bound in: x (N, ...), timesteps (N,) -> noise (N, ...).
Predict = Callable[[Tensor, Tensor], Tensor]
#: Fresh standard normal noise, shaped like what it is given.
Draw = Callable[[Tensor], Tensor]


class Moment(NamedTuple):
    """After step `step` of `steps`, from 1. t: the timestep at which the network was last asked, in its own units.

    x: (N, ...), as noisy as it now is, and always in the scale of the schedule: sqrt(a) image + sqrt(1 - a) noise.
    x0: the image as it was last predicted.
    """

    step: int
    steps: int
    t: float
    x: Tensor
    x0: Tensor


def asked(timestep: float, x: Tensor) -> Tensor:
    """The timestep, once for each image; int64 where it is one that the network was trained at, else never rounded to
    less than float32."""
    dtype = torch.int64 if isinstance(timestep, int) else torch.promote_types(x.dtype, torch.float32)
    return torch.full((len(x),), timestep, dtype=dtype, device=x.device)

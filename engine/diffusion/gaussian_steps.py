"""One step of DDIM as a Gaussian: its law, the log-probability of what was drawn, the KL divergence of two such steps.

A policy over images is a chain of these steps (DDPO, Black et al. 2024, arXiv:2305.13301, section 4.2). Pure functions.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from engine.diffusion.prediction import Number, exact, over, root, to_x0


class Law(NamedTuple):
    """mean: (N, ...). std: (N,), the same for every pixel of an image; 0 where nothing is drawn."""

    mean: Tensor
    std: Tensor


class NoDensity(ValueError):  # noqa: N818 - reads as what it is
    """A step that draws nothing has no density."""


def ddim_std(a_t: Number, a_s: Number, eta: float) -> Number:
    """DDIM, Song et al. 2021 (arXiv:2010.02502), eq. 16: sigma of a step from a_t to a_s. Of tensors, float64."""
    a_t, a_s = exact(a_t), exact(a_s)
    std: Number = eta * root((1 - a_s) / (1 - a_t) * (1 - a_t / a_s))
    return std


def ddim_mean(x0: Tensor, eps: Tensor, a_s: Number, std: Number) -> Tensor:
    """DDIM, eq. 12 without its noise: x0 as predicted, and the direction back to x_t."""
    a_s, std = exact(a_s), exact(std)
    return over(root(a_s), x0) * x0 + over(root(1 - a_s - std**2), x0) * eps


def ddim_law(x: Tensor, eps: Tensor, a_t: Number, a_s: Number, eta: float) -> Law:
    """The law of x_s given x_t: DDIM, eq. 12. eta 1 is DDPM's step, eta 0 draws nothing.

    x, eps: (N, ...). a_t, a_s: alpha-bar before and after, a number or (N,). Nothing is clipped: a clipped mean has no
    gradient where it matters, and the law of what was sampled must be the law of what is trained.
    """
    std = ddim_std(a_t, a_s, eta)
    spread = torch.as_tensor(std, dtype=torch.float64, device=x.device)
    return Law(ddim_mean(to_x0(x, eps, a_t), eps, a_s, std), spread.expand(len(x)))


def log_prob(law: Law, x_next: Tensor, reduce: Literal["sum", "mean"] = "sum") -> Tensor:
    """log p(x_next) in nats (N,): of the image (sum), or its mean over pixels, which is what DDPO's code clips.

    Raises NoDensity where the step draws nothing.
    """
    _refuse_no_noise(law.std)
    std = law.std.to(x_next)
    z = (x_next - law.mean) / over(std, x_next)
    each = -0.5 * z.square().flatten(1) - (std.log() + 0.5 * math.log(2 * math.pi))[:, None]
    return each.sum(1) if reduce == "sum" else each.mean(1)


def path_kl(mean: Tensor, reference_mean: Tensor, std: Tensor) -> Tensor:
    """KL(policy || reference) of one step in nats (N,), exact: both draw with the same std, so only means differ.

    Summed over the steps of a path drawn from the policy it is the KL of whole paths, a bound on that of the images.
    Raises NoDensity where the step draws nothing.
    """
    _refuse_no_noise(std)
    return (mean - reference_mean).square().flatten(1).sum(1) / (2 * std.to(mean) ** 2)


def _refuse_no_noise(std: Tensor) -> None:
    if not bool((std > 0).all()):
        raise NoDensity(
            "this step draws no noise, so it has no log-probability and no KL divergence: eta is 0, or it is the last"
            " step, which goes to the image itself\nuse eta above 0 (1 is DDPM), and leave the last step out"
        )

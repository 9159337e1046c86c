"""What a denoiser and a VAE lower. Pure functions; images are (N, C, H, W), results one number an image, (N,)."""

from typing import NamedTuple

import torch
from torch import Tensor

from engine.diffusion.schedules import Prediction


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean over an image's values: Ho et al. 2020 (arXiv:2006.11239), eq. 14, where the target is the noise."""
    return (output.float() - target.float()).square().flatten(1).mean(1)


def min_snr_weight(alpha_bar: Tensor, *, gamma: float, prediction: Prediction) -> Tensor:
    """What an error at alpha_bar, (N,), weighs, (N,): Hang et al. 2023 (arXiv:2303.09556), eq. 9 and section 3.4.

    min(SNR, gamma) of an error in the image, SNR = a / (1 - a). One in the noise is SNR times that in the image, one
    in v SNR + 1 times.
    """
    snr = alpha_bar / (1 - alpha_bar)
    wanted = snr.clamp(max=gamma)
    match prediction:
        case "epsilon":
            return wanted / snr
        case "sample":
            return wanted
        case "v_prediction":
            return wanted / (snr + 1)


def latent_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of the posterior to a standard normal, nats an image: Kingma & Welling 2014 (arXiv:1312.6114), appendix B."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)


class VaeLoss(NamedTuple):
    """loss: (N,). error: (N,), squared, mean over pixels. kl: (N,), nats an image."""

    loss: Tensor
    error: Tensor
    kl: Tensor


def vae_loss(pixels: Tensor, decoded: Tensor, mean: Tensor, log_variance: Tensor, *, kl_weight: float) -> VaeLoss:
    """Squared error a pixel, and kl_weight times the KL a pixel: minus the ELBO (arXiv:1312.6114, eq. 3) a pixel, times
    2 s^2 of a decoder of variance s^2 = kl_weight / 2."""
    error, kl = squared_error(decoded, pixels), latent_kl(mean, log_variance)
    return VaeLoss(error + kl_weight * kl / pixels[0].numel(), error, kl)


def quarter_of(t: Tensor, timesteps: int) -> Tensor:
    """Which quarter of the schedule each of t, (N,), is in: 0 has the least noise."""
    return torch.div(4 * t, timesteps, rounding_mode="floor").clamp(max=3)

"""What a denoiser predicts, and how the three forms of it follow from one another. Pure functions.

With x = sqrt(a) x0 + sqrt(1 - a) eps (a = alpha-bar): eps is the noise, x0 the image, and
v = sqrt(a) eps - sqrt(1 - a) x0 (Salimans & Ho 2022, arXiv:2202.00512, appendix D).

x, output: (N, ...). alpha_bar: a number, or (N,), one for each image.
"""

from typing import Any

from torch import Tensor

from engine.diffusion.schedules import Prediction

#: A number for all images of a batch, or (N,), one for each. Numbers stay numbers: a sampler's step is then a handful
#: of operations on images, and none on tensors of one element.
Number = Tensor | float


def exact(value: Number) -> Any:
    """In float64, as Python's own numbers are."""
    return value.double() if isinstance(value, Tensor) else value


def root(value: Number) -> Any:
    """The square root; of what is below 0 by rounding, 0."""
    return value.clamp(min=0).sqrt() if isinstance(value, Tensor) else max(value, 0.0) ** 0.5


def over(alpha_bar: Number, x: Tensor) -> Number:
    """alpha_bar, or anything else that is one a image, so that it multiplies images x (N, ...), in their dtype."""
    if not isinstance(alpha_bar, Tensor) or not alpha_bar.dim():
        return float(alpha_bar)
    return alpha_bar.to(x).view(-1, *[1] * (x.dim() - 1))


def roots(alpha_bar: Number, x: Tensor) -> tuple[Number, Number]:
    """sqrt(a) and sqrt(1 - a), to multiply images x with. 1 - a is taken before rounding to the dtype of x."""
    a = exact(alpha_bar)
    return over(root(a), x), over(root(1 - a), x)


def to_eps(x: Tensor, output: Tensor, alpha_bar: Number, prediction: Prediction) -> Tensor:
    """The noise that the network's output means."""
    signal, noise = roots(alpha_bar, x)
    match prediction:
        case "epsilon":
            return output
        case "sample":
            return (x - signal * output) / noise
        case "v_prediction":
            return signal * output + noise * x


def to_x0(x: Tensor, output: Tensor, alpha_bar: Number, prediction: Prediction = "epsilon") -> Tensor:
    """The image that the network's output means: DDIM (2010.02502), eq. 9, where it is the noise."""
    signal, noise = roots(alpha_bar, x)
    match prediction:
        case "epsilon":
            return (x - noise * output) / signal
        case "sample":
            return output
        case "v_prediction":
            return signal * x - noise * output


def to_v(x: Tensor, output: Tensor, alpha_bar: Number, prediction: Prediction) -> Tensor:
    """The velocity that the network's output means."""
    signal, noise = roots(alpha_bar, x)
    match prediction:
        case "epsilon":
            return (output - noise * x) / signal
        case "sample":
            return (signal * x - output) / noise
        case "v_prediction":
            return output


def noised(x0: Tensor, noise: Tensor, alpha_bar: Number) -> Tensor:
    """x_t of images x0: DDPM (2006.11239), eq. 4."""
    signal, spread = roots(alpha_bar, x0)
    return signal * x0 + spread * noise


def target_of(x0: Tensor, noise: Tensor, alpha_bar: Number, prediction: Prediction) -> Tensor:
    """What the network should have said."""
    match prediction:
        case "epsilon":
            return noise
        case "sample":
            return x0
        case "v_prediction":
            signal, spread = roots(alpha_bar, x0)
            return signal * noise - spread * x0

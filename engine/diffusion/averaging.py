"""A running average of weights: what a denoiser draws with, as single steps still shake it."""

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.training_utils import EMAModel
from torch import Tensor, nn


class Average:
    """Exponential moving average of a network's parameters, by diffusers' `EMAModel`.

    With n steps behind it, what was before weighs min(decay, (1 + n) / (10 + n)), so that the random beginning is
    forgotten soon. What libraries open is the average, in `unet/`; training goes on from the weights themselves.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        self._ema = EMAModel(network.parameters(), decay=decay, foreach=True)

    @property
    def steps(self) -> int:
        """How many steps it has followed."""
        return int(self._ema.optimization_step)

    @steps.setter
    def steps(self, steps: int) -> None:
        self._ema.optimization_step = steps

    def follow(self, network: nn.Module) -> None:
        """Take the weights of one more step in."""
        self._ema.step(network.parameters())

    @contextmanager
    def in_place_of(self, network: nn.Module) -> Iterator[None]:
        """Within it, the network has the averaged weights."""
        self._ema.store(network.parameters())
        self._ema.copy_to(network.parameters())
        try:
            yield
        finally:
            self._ema.restore(network.parameters())

    def take(self, network: nn.Module, saved: dict[str, Tensor]) -> None:
        """Go on from averages that were saved; `steps` has to be set beside."""
        named = network.named_parameters()
        self._ema.shadow_params = [saved[name].to(p.device, p.dtype).clone() for name, p in named]

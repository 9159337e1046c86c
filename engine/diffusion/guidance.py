"""Classifier-free guidance, Ho & Salimans 2022 (arXiv:2207.12598): further from what a model draws unasked."""

from torch import Tensor

from engine.diffusion.stepping import Predict


def guided(conditional: Predict, unconditional: Predict, scale: float) -> Predict:
    """eps = eps_unconditional + scale * (eps_conditional - eps_unconditional).

    scale 1 is the conditional model, 0 the unconditional one, exactly and at the price of one; this is what most tools
    call CFG scale, and the paper's w + 1. A negative prompt is an `unconditional` that asks for something.
    """
    if scale == 1:
        return conditional
    if scale == 0:
        return unconditional

    def predict(x: Tensor, t: Tensor) -> Tensor:
        without = unconditional(x, t)
        return without + scale * (conditional(x, t) - without)

    return predict

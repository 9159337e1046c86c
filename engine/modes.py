"""Train mode and eval mode: what of them training needs, without what it must not have."""

import contextlib
from collections.abc import Iterator

from torch import nn


def without_dropout(model: nn.Module) -> None:
    """Eval mode, in which layers that are to be computed again in backward still are.

    For methods that compare a policy with itself or another: dropout would tell equals apart. transformers computes a
    layer again only in train mode, so those layers alone are put into it; what they drop by themselves is set to zero.
    """
    model.eval()
    for layer in model.modules():
        if getattr(layer, "gradient_checkpointing", False):
            layer.training = True
            for name, value in vars(layer).items():
                if "dropout" in name and isinstance(value, float):
                    setattr(layer, name, 0.0)


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode throughout; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training

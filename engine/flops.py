"""How much arithmetic a run spends: an estimate from weights and tokens, as scaling laws count it.

Kaplan et al. 2020 (arXiv:2001.08361), sec. 2.1: 2 N floating-point operations a token that is read, N the weights
without embeddings; attention's products and the head are left out. Backward takes 2 N more for what flows back to the
layers, and 2 more for each weight that is trained: 6 N in all, or 4 N and a little with an adapter. A token that is
written costs as much as one that is read; layers that are computed again in backward are not counted again. So the
FLOPs of a step are, over all models that take part in it,

    sum of (2 N tokens read) + (2 N + 2 N_trained) tokens learned from.

Every model that a run opens is watched: the policy and its reference, a critic, a teacher, reward models and judges.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from engine import virtual_tokens


class Meter:
    """What this process has spent, in FLOPs. Padding is arithmetic too and counts; so may where rows were cut."""

    def __init__(self) -> None:
        self.spent = 0.0
        self._weights: WeakKeyDictionary[nn.Module, tuple[int, int]] = WeakKeyDictionary()
        self._listens = True

    def watch(self, model: nn.Module) -> None:
        """Count whatever the model reads from now on. What of it is trained has to be settled."""
        reader = _reader_of(model)
        if reader not in self._weights:
            self._weights[reader] = weights_of(reader)
            reader.register_forward_pre_hook(self._read, with_kwargs=True)

    def add(self, model: nn.Module, tokens: int) -> None:
        """So many tokens were read or written by a watched model, which nothing is learned from."""
        self.spent += 2.0 * self._weights[_reader_of(model)][0] * tokens

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Within it nothing counts that a model reads: the tokens will be added."""
        self._listens = False
        try:
            yield
        finally:
            self._listens = True

    def _read(self, reader: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not self._listens:
            return
        given = next(x for x in (*arguments, named.get("input_ids"), named.get("inputs_embeds")) if x is not None)
        self.spent += flops(_tokens(given), *self._weights[reader], learns=torch.is_grad_enabled())


def flops(tokens: int, weights: int, trained: int, *, learns: bool) -> float:
    """Of reading tokens with so many weights, and where something is learned of the way back; see above."""
    forward = 2.0 * weights * tokens
    return forward + 2.0 * (weights + trained) * tokens if learns and trained else forward


def weights_of(reader: nn.Module) -> tuple[int, int]:
    """How many weights a stack of layers has, and how many are trained; embeddings are looked up and do not count."""
    looked_up = {id(p) for module in reader.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    counted = [parameter for parameter in reader.parameters() if id(parameter) not in looked_up]
    return sum(map(_size, counted)), sum(_size(parameter) for parameter in counted if parameter.requires_grad)


def _size(parameter: nn.Parameter) -> int:
    """How many numbers it stands for: at four bits two of them share a byte."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()


def _tokens(given: Tensor) -> int:
    """given: ids (B, T), or embeddings (B, T, width)."""
    return given.shape[0] * given.shape[1]


def _reader_of(model: nn.Module) -> nn.Module:
    """The stack of layers under adapter and head, which every way of reading calls."""
    base = virtual_tokens.base_of(model)
    reader = getattr(base, getattr(base, "base_model_prefix", "") or "", base)
    return reader if isinstance(reader, nn.Module) else base

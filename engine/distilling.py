"""Student and teacher side by side, from their hidden states on: never more than a tile of logits of both at a time.

Whole, two float32 matrices of tokens by vocabulary and all that autograd keeps of them would be most of the memory of a
step. A tile is forgotten once its divergences are known, and worked out again in backward.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.divergence_losses import Divergence, divergence
from engine.fused_head import TILE
from engine.logprobs import Rows, TokenScorer, TokenScores
from engine.packing import Line


class Heard(NamedTuple):
    """What a teacher would say at each scored token. states: (N, width of the teacher), before its head."""

    teacher: TokenScorer
    states: Tensor


class StudentScorer(nn.Module):
    """The module that `accelerate` wraps, so gradients of every process meet. The teacher stays outside of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.student = TokenScorer(model)

    def forward(
        self,
        rows: Rows,
        heard: Heard | None = None,
        line: Line | None = None,
        *,
        beta: float = 1.0,
        temperature: float = 1.0,
    ) -> TokenScores | Divergence:
        """How far each target's distribution is from the teacher's; without a teacher the targets' own scores."""
        if heard is None:
            return self.student(rows, line=line)  # type: ignore[no-any-return]  # a TokenScorer
        states = self.student.states(rows, line)
        size = max(1, TILE["cpu" if states.device.type == "cpu" else "gpu"] // self.student.vocabulary(states))
        parts = [slice(start, start + size) for start in range(0, len(states), size)]
        tiles = [self._tile(states[part], heard, part, beta, temperature, again=len(parts) > 1) for part in parts]
        return Divergence(*(torch.cat(columns) for columns in zip(*tiles, strict=True)))

    def _tile(
        self, states: Tensor, heard: Heard, part: slice, beta: float, temperature: float, *, again: bool
    ) -> Divergence:
        """again: whether its logits are worked out again in backward, in place of being kept."""

        def compare(mine: Tensor) -> Divergence:
            with torch.no_grad():
                said = heard.teacher.logits(heard.states[part])
            return divergence(self.student.logits(mine), said, beta=beta, temperature=temperature)

        if again and torch.is_grad_enabled():
            return Divergence(*checkpoint(compare, states, use_reentrant=False))
        return compare(states)

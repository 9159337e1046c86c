"""Log-probabilities of tokens: the only place that touches the LM head, and only at positions that are scored.

A prompt's positions and the padding never meet the vocabulary. At 32,000 words that is most of the work of a step.
"""

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine import virtual_tokens
from engine.fused_head import score_hidden
from engine.modes import eval_mode
from engine.neftune import added_to_embeddings
from engine.packing import Line, line_inputs, reads_lines

#: Logits held at once: 2**25 float32 are 128 MiB. Beyond it the head works in chunks and is computed again in backward.
LOGITS_AT_ONCE = 2**25


class Rows(NamedTuple):
    """Right-padded sequences. All (B, T). is_target: True where the token itself is scored; never in column 0."""

    input_ids: Tensor
    is_token: Tensor
    is_target: Tensor

    def to(self, device: torch.device) -> "Rows":
        return Rows(*(tensor.to(device, non_blocking=True) for tensor in self))


class TokenScores(NamedTuple):
    """One entry per scored token, (N,), rows in order. logps carries a gradient, and entropy, in nats, if it was asked
    to."""

    logps: Tensor
    entropy: Tensor
    is_top: Tensor


class TokenScorer(nn.Module):
    """Scores the target tokens of rows. This is the module that `accelerate` wraps, so gradients of every process meet.

    temperature divides the logits first: the law a rollout drew from.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.head = split_head(model)

    def forward(
        self,
        rows: Rows,
        temperature: float = 1.0,
        line: Line | None = None,
        noise: Tensor | None = None,
        *,
        entropy_learns: bool = False,
    ) -> TokenScores:
        """line: the rows in one line without padding, for a scorer that `reads_lines`; the scores are the same.

        noise: added to the embeddings of the tokens of rows, (tokens, width); of a line, of one that shares nothing.
        """
        if line is None:
            with added_to_embeddings(self.model, None if noise is None else _in_rows(noise, rows.is_token)):
                hidden = self.states(rows)
        else:
            with added_to_embeddings(self.model, None if noise is None else noise.unsqueeze(0)):
                hidden = self.states(rows, line)
        return self.scores(hidden, rows, temperature, entropy_learns=entropy_learns)

    def states(self, rows: Rows, line: Line | None = None) -> Tensor:
        """The hidden state that each target is told from, (N, width); logits where the head cannot be split off."""
        if line is not None:
            return self._hidden_of_line(rows, line).index_select(0, line.places[before_targets(rows)])
        return self._hidden(rows)[before_targets(rows)]

    def logits(self, states: Tensor) -> Tensor:
        """The logits of `states`, (N, vocabulary)."""
        return states if self.head is None else self.head.logits(states)

    def vocabulary(self, states: Tensor) -> int:
        """How many logits each of `states` has."""
        return states.shape[-1] if self.head is None else self.head.vocabulary

    def scores(
        self, states: Tensor, rows: Rows, temperature: float = 1.0, *, entropy_learns: bool = False
    ) -> TokenScores:
        """The scores of the targets of rows, told from their `states`."""
        return self._score(states, rows.input_ids[rows.is_target], temperature, entropy_learns)

    def reads_lines(self) -> bool:
        """Whether rows may be scored in a line; see packing.py."""
        is_bare = not virtual_tokens.has_virtual_tokens(self.model)
        return self.head is not None and is_bare and reads_lines(self.head.backbone)

    def _hidden_of_line(self, rows: Rows, line: Line) -> Tensor:
        """(tokens of the line, width)."""
        assert self.head is not None  # noqa: S101 - only a scorer with a head reads lines
        hidden: Tensor = self.head.backbone(**line_inputs(line, rows.input_ids, rows.is_token)).last_hidden_state
        return hidden.squeeze(0)

    def _hidden(self, rows: Rows) -> Tensor:
        """(B, T, width), or with a head that cannot be split off, logits (B, T, vocabulary)."""
        positions = (rows.is_token.long().cumsum(dim=1) - 1).clamp(min=0)
        causal = virtual_tokens.base_of(self.model)
        reader = causal if self.head is None else self.head.backbone
        placed = positions if takes_positions(reader) else None
        inputs = virtual_tokens.inputs(self.model, rows.input_ids, rows.is_token, placed)
        output = reader(**inputs.given, use_cache=False)
        read: Tensor = output.logits if self.head is None else output.last_hidden_state
        return read[:, inputs.skip :]

    def _score(self, hidden: Tensor, targets: Tensor, temperature: float, entropy_learns: bool) -> TokenScores:
        if self.head is not None and self.head.is_plain:
            weight, bias = self.head.projection.weight, self.head.projection.bias
            scale = self.head.scale / temperature
            scored = score_hidden(
                *(hidden, weight, bias, targets),
                scale=scale,
                keeps_at_most=LOGITS_AT_ONCE,
                entropy_learns=entropy_learns,
            )
            return TokenScores(*scored)
        rows_at_once = max(1, LOGITS_AT_ONCE // self.vocabulary(hidden))
        if len(targets) <= rows_at_once:
            return self._score_chunk(hidden, targets, temperature, entropy_learns)
        chunks = []
        for start in range(0, len(targets), rows_at_once):
            part = slice(start, start + rows_at_once)
            if torch.is_grad_enabled():
                given = (hidden[part], targets[part], temperature, entropy_learns)
                chunks.append(TokenScores(*checkpoint(self._score_chunk, *given, use_reentrant=False)))
            else:
                chunks.append(self._score_chunk(hidden[part], targets[part], temperature, entropy_learns))
        return TokenScores(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))

    def _score_chunk(self, hidden: Tensor, targets: Tensor, temperature: float, entropy_learns: bool) -> TokenScores:
        logits = self.logits(hidden).float()
        if temperature != 1.0:
            logits = logits / temperature
        return score_logits(logits, targets, entropy_learns=entropy_learns)


def before_targets(rows: Rows) -> Tensor:
    """Where each target is predicted: the position before it, (B, T)."""
    predicts = torch.zeros_like(rows.is_target)
    predicts[:, :-1] = rows.is_target[:, 1:]
    return predicts


def _in_rows(values: Tensor, is_token: Tensor) -> Tensor:
    """What belongs to the tokens of rows, (N, width), where they stand, (B, T, width); 0 at padding."""
    return values.new_zeros(*is_token.shape, values.shape[1]).masked_scatter(is_token.unsqueeze(-1), values)


def score_logits(logits: Tensor, targets: Tensor, *, entropy_learns: bool = False) -> TokenScores:
    """Scores of `targets` (N,) under `logits` (N, vocabulary)."""
    log_total = torch.logsumexp(logits, dim=-1)
    target_logits = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    with torch.set_grad_enabled(entropy_learns and torch.is_grad_enabled()):
        # H = log Z - E[logit]; the softmax is built once, in place of log-probabilities of every word.
        entropy = log_total - (torch.exp(logits - log_total.unsqueeze(-1)) * logits).sum(dim=-1)
    is_top = target_logits.detach() >= logits.detach().amax(dim=-1)
    return TokenScores(target_logits - log_total, entropy, is_top)


@dataclass(frozen=True)
class Head:
    """The way from a model's last hidden state to its logits, kept apart so that it can be given fewer rows.

    Not a module: its parts belong to the model, and a second registration would list the weights twice.
    """

    backbone: nn.Module
    projection: nn.Linear
    scale: float = 1.0
    softcap: float | None = None

    @property
    def vocabulary(self) -> int:
        return self.projection.weight.size(0)

    @property
    def is_plain(self) -> bool:
        """Whether the head is nothing but a product with a matrix, and nothing caps what it gives."""
        return is_plain(self.projection) and self.softcap is None

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) to (…, vocabulary)."""
        logits: Tensor = self.projection(hidden)
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits


def is_plain(linear: Any) -> bool:
    """Whether a layer is a product with a matrix that is there as it is: no adapter, no hook, nothing quantised."""
    is_watched = bool(linear._forward_hooks or linear._forward_pre_hooks) or "forward" in vars(linear)
    return type(linear) is nn.Linear and type(linear.weight) is nn.Parameter and not is_watched


def split_head(model: nn.Module) -> Head | None:
    """The model's head, or None where it cannot be told apart: then the whole model is run and its logits are picked.

    Architectures scale and cap their logits in their own ways, so the split is believed only after it has given the
    model's own logits on a few tokens.
    """
    causal = virtual_tokens.base_of(model)
    backbone = getattr(causal, getattr(causal, "base_model_prefix", "") or "", None)
    projection = causal.get_output_embeddings() if hasattr(causal, "get_output_embeddings") else None
    if not isinstance(backbone, nn.Module) or not isinstance(projection, nn.Linear):
        return None
    config = causal.config
    scale = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    head = Head(backbone, projection, float(scale), getattr(config, "final_logit_softcapping", None))
    return head if _agrees(causal, head) else None


@torch.no_grad()
def _agrees(causal: nn.Module, head: Head) -> bool:
    ids = torch.arange(4, device=next(causal.parameters()).device).unsqueeze(0)
    try:
        with eval_mode(causal):
            whole = causal(input_ids=ids, use_cache=False).logits
            split = head.logits(head.backbone(input_ids=ids, use_cache=False).last_hidden_state)
    except (AttributeError, TypeError, RuntimeError):
        return False
    return bool(torch.allclose(whole.float(), split.float(), rtol=1e-3, atol=1e-4))


def takes_positions(module: nn.Module) -> bool:
    """Whether a model can be told where its tokens stand; those with a relative scheme of their own cannot."""
    # accelerate replaces `forward`, so the class is asked.
    return "position_ids" in inspect.signature(type(module).forward).parameters

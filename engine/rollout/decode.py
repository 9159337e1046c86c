"""Sampling answers: each prompt is read once, its answers share that reading, and a finished row leaves the batch.

Every answer draws from a stream of its own, made from the seed it is given. So what is drawn depends neither on its
neighbours in the batch, nor on how many processes share the work, nor on whether the run was interrupted.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from engine import virtual_tokens
from engine.contract.online_settings import Rollout as RolloutSettings
from engine.logprobs import takes_positions
from engine.models import Policy
from engine.modes import eval_mode
from engine.rollout.protocol import Answer

#: Rows whose finished neighbours are dropped from the cache only when at least this share of the batch is done:
#: copying the cache costs about as much as a step.
WORTH_COMPACTING = 0.25


@torch.no_grad()
def sample_answers(
    policy: Policy,
    prompts: Sequence[list[int]],
    seeds: Sequence[Sequence[int]],
    settings: RolloutSettings,
    *,
    greedy: bool = False,
    breathe: Callable[[], None] = lambda: None,
) -> list[list[Answer]]:
    """Sample len(seeds[i]) answers to prompts[i]; all prompts get equally many. breathe is called once a token.

    Dropout is off meanwhile.
    """
    with eval_mode(policy.model):
        return _sample(policy, prompts, seeds, settings, greedy=greedy, breathe=breathe)


def _sample(
    policy: Policy,
    prompts: Sequence[list[int]],
    seeds: Sequence[Sequence[int]],
    settings: RolloutSettings,
    *,
    greedy: bool,
    breathe: Callable[[], None],
) -> list[list[Answer]]:
    per_prompt = len(seeds[0])
    device = next(policy.model.parameters()).device
    noise = torch.stack([_uniform(seed, settings.max_new_tokens) for group in seeds for seed in group])
    batch = _Batch(policy, prompts, per_prompt, device, settings.max_new_tokens)
    ends = torch.tensor(policy.end_ids, device=device)
    for index in range(settings.max_new_tokens):
        breathe()
        logits = batch.logits.float() / settings.temperature
        noise_now = noise[:, index].to(device)[batch.rows]
        cut = _cut(logits, settings)
        tokens = logits.argmax(dim=-1) if greedy else _draw(cut, noise_now)
        logps = _logps(logits, tokens)
        drawn = logps if greedy or cut is logits else _logps(cut, tokens)
        batch.write(tokens, torch.stack([logps, drawn]), is_end=torch.isin(tokens, ends))
        if not batch.advance(is_last=index == settings.max_new_tokens - 1):
            break
    answers = batch.answers()
    return [answers[start : start + per_prompt] for start in range(0, len(answers), per_prompt)]


class _Batch:
    """Rows that are still being written, their cache, and what every row has written."""

    def __init__(
        self, policy: Policy, prompts: Sequence[list[int]], per_prompt: int, device: torch.device, longest: int
    ) -> None:
        self._model = virtual_tokens.base_of(policy.model)
        self._takes_positions = takes_positions(self._model)
        pad = policy.tokenizer.pad_token_id or 0
        width = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)  # (prompts, width)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        inputs = virtual_tokens.inputs(policy.model, ids, mask, positions if self._takes_positions else None)
        prefix = inputs.given.pop("past_key_values", None)  # a trained one is a cache already
        self._cache = DynamicCache(config=self._model.config) if prefix is None else prefix
        first = self._forward(**inputs.given)
        mask, virtual = inputs.given["attention_mask"], virtual_tokens.count(policy.model)
        total = len(prompts) * per_prompt
        self.logits = first.repeat_interleave(per_prompt, dim=0)  # (rows, vocabulary)
        if per_prompt > 1:
            self._cache.batch_repeat_interleave(per_prompt)
        self._mask = mask.repeat_interleave(per_prompt, dim=0)
        self._position = (positions[:, -1] + 1 + virtual).repeat_interleave(per_prompt)
        #: Index of each row of the batch among all answers.
        self.rows = torch.arange(total, device=device)
        self._is_done = torch.zeros(total, dtype=torch.bool, device=device)
        self._ids = torch.zeros(total, longest, dtype=torch.long, device=device)
        self._logps = torch.zeros(2, total, longest, device=device)  # under the whole law, and the one drawn from
        self._lengths = torch.zeros(total, dtype=torch.long, device=device)
        self._stopped = torch.zeros(total, dtype=torch.bool, device=device)

    def write(self, tokens: Tensor, logps: Tensor, *, is_end: Tensor) -> None:
        """Take one token for each row of the batch; rows that are done already keep what they have. logps: (2, rows)"""
        rows = self.rows[~self._is_done]
        at = self._lengths[rows]
        self._ids[rows, at] = tokens[~self._is_done]
        self._logps[:, rows, at] = logps[:, ~self._is_done]
        self._lengths[rows] += 1
        self._stopped[rows] = is_end[~self._is_done]
        self._is_done |= is_end
        self._tokens = tokens

    def advance(self, *, is_last: bool) -> bool:
        """Read the tokens just written; False when there is nothing left to write."""
        if is_last or bool(self._is_done.all()):
            return False
        if float(self._is_done.float().mean()) >= WORTH_COMPACTING:
            self._compact(torch.nonzero(~self._is_done).squeeze(-1))
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        placed = {"position_ids": self._position[:, None]} if self._takes_positions else {}
        self.logits = self._forward(input_ids=self._tokens[:, None], attention_mask=self._mask, **placed)
        self._position = self._position + 1
        return True

    def answers(self) -> list[Answer]:
        ids, (logps, drawn), lengths = self._ids.tolist(), self._logps.tolist(), self._lengths.tolist()
        stopped = self._stopped.tolist()
        return [
            Answer(ids[i][:length], logps[i][:length], "stop" if stopped[i] else "length", drawn[i][:length])
            for i, length in enumerate(lengths)
        ]

    def _compact(self, keep: Tensor) -> None:
        self._cache.batch_select_indices(keep)
        self._mask, self._position = self._mask[keep], self._position[keep]
        self.rows, self._tokens = self.rows[keep], self._tokens[keep]
        self._is_done = self._is_done[keep]

    def _forward(self, **given: Tensor) -> Tensor:
        """Logits after the last of what is given, (rows, n): (rows, vocabulary). The cache grows by n."""
        output = self._model(**given, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        logits: Tensor = output.logits[:, -1]
        return logits


def _uniform(seed: int, count: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))


def _logps(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of tokens, (rows,), under softmax(logits), (rows, vocabulary)."""
    return logits.gather(-1, tokens[:, None]).squeeze(-1) - torch.logsumexp(logits, dim=-1)


def _draw(logits: Tensor, noise: Tensor) -> Tensor:
    """Sample from softmax(logits), (rows, vocabulary), by inverting the distribution at `noise`, (rows,) in [0, 1)."""
    cumulative = torch.softmax(logits, dim=-1).cumsum(dim=-1)
    # Rounding may leave the total below 1; noise is scaled to it, so no draw falls off the end.
    target = noise.to(cumulative.dtype)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)


def _cut(logits: Tensor, settings: RolloutSettings) -> Tensor:
    """Leave only the likeliest tokens, as top_k and top_p ask."""
    if settings.top_k:
        kept = logits.topk(min(settings.top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < kept, -torch.inf)
    if settings.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = torch.softmax(ordered, dim=-1).cumsum(dim=-1) - torch.softmax(ordered, dim=-1)
        cut = (before >= settings.top_p).scatter(-1, order, before >= settings.top_p)
        logits = logits.masked_fill(cut, -torch.inf)
    return logits

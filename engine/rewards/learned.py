"""A part of a reward that was learned: a reward model reads each answer with its prompt and gives it a score.

It reads what it was trained on. A conversation is rendered by the reward model's own template, the answer as the
assistant's turn. Plain text goes in as the very tokens that the policy wrote where both have one tokenizer, and is
decoded and tokenised again, with the end token, where they have not; the same holds for an encoder, which wants prompt
and answer as two segments. So a reward model of any family scores a policy of any other; a text that was tokenised
again may be other tokens than the policy wrote, and one that was cut off reads like one that ended: what that should
cost is the method's to say (`ppo.missing_eos_penalty`).
"""

import math
from collections.abc import Sequence

import torch

from engine.contract import online_settings, settings
from engine.data.batching import micro_batches, pad_rows
from engine.data.chat import ChatEncoder, Example
from engine.data.rankings import WHOLE
from engine.models import Policy, choose_dtype
from engine.reward_models import RewardScorer, is_encoder, open_reward_model, reader_for, same_tokens, stored_spread
from engine.rewards.parts import Answered, Failure, Part, Score, Surroundings


def learned(part: online_settings.LearnedReward, around: Surroundings) -> Part:
    """Raises ModelError if the path names no reward model."""
    model = settings.Model(path=part.path)
    trained = open_reward_model(model, device=around.device, dtype=choose_dtype("auto", around.device))
    around.meter.watch(trained.model)
    mean, std = stored_spread(part.path) if part.normalize else (0.0, 1.0)
    read, scorer = Reading(trained, around.encoder), RewardScorer(trained.model)
    remedy = "train it again with a lower learning rate, or use another"
    nothing = Failure("no number", f"the reward model {part.path} gave no number; {remedy}")

    @torch.no_grad()
    def score(answers: Sequence[Answered]) -> list[Score]:
        examples = [read(answered) for answered in answers]
        found: list[float] = []
        for batch in micro_batches(examples, [len(example.ids) for example in examples], "auto") if examples else []:
            around.breathe()
            rows = pad_rows(batch, trained.tokenizer.pad_token_id or 0).to(around.device)
            found += [(value - mean) / std for value in scorer(rows).rewards.tolist()]
        return [value if math.isfinite(value) else nothing for value in found]

    return score


class Reading:
    """How a reward model reads an answer of the policy."""

    def __init__(self, trained: Policy, policy: ChatEncoder | None) -> None:
        tokenizer, self._is_encoder = trained.tokenizer, is_encoder(trained.model)
        self._renders = bool(tokenizer.chat_template)
        self._reads_ids = not self._is_encoder and policy is not None and same_tokens(policy.tokenizer, tokenizer)
        self._read = reader_for(trained, system_prompt=None if policy is None else policy.system_prompt)
        self._longest = min(filter(None, (trained.context, tokenizer.model_max_length)), default=WHOLE)

    def __call__(self, answered: Answered) -> Example:
        """The text as tokens of the reward model. What is too long loses its beginning: the end is where it is read."""
        is_conversation = isinstance(answered.row.get("prompt"), list)
        if self._reads_ids and not (self._renders and is_conversation):
            ids = [*answered.prompt, *answered.ids]
            example = Example(ids, [False] * len(answered.prompt) + [True] * len(answered.ids))
        else:
            example = self._read({**answered.row, "completion": answered.text})
        return example if len(example.ids) <= self._longest else self._shortened(example)

    def _shortened(self, example: Example) -> Example:
        kept = 1 if self._is_encoder else 0  # [CLS], where an encoder sums up
        rest = self._longest - kept
        ids = [*example.ids[:kept], *example.ids[-rest:]]
        return Example(ids, [*example.is_target[:kept], *example.is_target[-rest:]], is_cut=True)

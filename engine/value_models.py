"""The critic of PPO: for each token of an answer, what the state before it promises. A model of its own, or a head.

Beside the policy it stands in one module, ActorCritic, so that one optimiser and one backward serve both.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine import checkpoint
from engine.contract.online_settings import LearnedReward
from engine.contract.preset import PpoPreset, RewardModelPreset
from engine.logprobs import Rows, TokenScorer, before_targets
from engine.models import ModelError, Policy, gives_scores
from engine.reward_models import (
    head_of,
    load_reward_model,
    reads_tokens_of,
    same_tokens,
    split_end,
    stored_spread,
)

#: Within a run: the critic, and the frozen model that its adapter stands on where that exists nowhere else.
CRITIC, CRITIC_BASE = "critic", "critic-base"
HEAD_FILE = "value_head.safetensors"


class OwnCritic(nn.Module):
    """A model for sequence classification, asked at every token of an answer and not only at its end.

    What its score has to be moved by to stand for a normalised reward is kept as `value_offset` in its config.
    """

    def __init__(self, critic: Policy) -> None:
        super().__init__()
        end = split_end(critic.model)
        if end is None:
            raise ModelError(
                "ppo.critic_path: this model gives no score token by token, as a decoder does; use one that does,"
                " or ppo.critic: head"
            )
        self.model, self._end, self._tokenizer, self._has_adapter = critic.model, end, critic.tokenizer, False
        self._has_adapter = critic.has_adapter

    def values(self, rows: Rows, actor: TokenScorer, states: Tensor | None = None) -> Tensor:
        """Of the state before each target, (N,), reward units."""
        config: Any = self.model.config
        return self._end.scores(self._end.states(rows)[before_targets(rows)]) + float(config.value_offset)

    def save(self, folder: Path, *, whole: bool) -> None:
        """whole: with its adapter merged into it, which ends its training; else as `restore` wants it back."""
        model: Any = self.model
        if whole and self._has_adapter:
            offset, model = model.config.value_offset, model.merge_and_unload()
            model.config.value_offset = offset
        checkpoint.save_model(model, self._tokenizer, folder)

    def restore(self, folder: Path) -> None:
        checkpoint.restore_model(folder, self.model, has_adapter=self._has_adapter)


class HeadCritic(nn.Module):
    """One number from the policy's last hidden state. It begins at zero, as it knows nothing yet."""

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__()
        self.head = nn.Linear(width, 1, device=device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def values(self, rows: Rows, actor: TokenScorer, states: Tensor | None = None) -> Tensor:
        """As of an OwnCritic. states: the actor's hidden states there, (N, width), where it has read the rows."""
        read = actor.states(rows) if states is None else states
        with torch.autocast(read.device.type, enabled=False):
            values: Tensor = self.head(read.float())
        return values.squeeze(-1)

    def save(self, folder: Path, *, whole: bool) -> None:
        """Its weights; the states they read are the policy's."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()}
        save_file(weights, str(folder / HEAD_FILE))

    def restore(self, folder: Path) -> None:
        self.head.load_state_dict(load_file(str(folder / HEAD_FILE)))


Critic = OwnCritic | HeadCritic


class Judged(NamedTuple):
    """One entry per scored token, (N,), rows in order; the first three as TokenScores. values: reward units."""

    logps: Tensor
    entropy: Tensor
    is_top: Tensor
    values: Tensor


class ActorCritic(nn.Module):
    """Policy and critic in one: the module that `accelerate` wraps, so gradients of every process meet."""

    def __init__(self, actor: TokenScorer, critic: Critic) -> None:
        super().__init__()
        self.actor, self.critic = actor, critic

    def forward(
        self, rows: Rows, temperature: float = 1.0, *, entropy_learns: bool = False, critic_alone: bool = False
    ) -> Judged:
        """critic_alone: the error of a head then leaves no gradient in the weights that it shares with the policy."""
        states = self.actor.states(rows)
        scores = self.actor.scores(states, rows, temperature, entropy_learns=entropy_learns)
        return Judged(*scores, self.critic.values(rows, self.actor, states.detach() if critic_alone else states))

    def values(self, rows: Rows) -> Tensor:
        """The critic's part alone, (N,)."""
        return self.critic.values(rows, self.actor)


def load_critic(preset: PpoPreset, actor: TokenScorer, policy: Policy, *, dtype: torch.dtype, folder: Path) -> Critic:
    """The critic that `preset.ppo` asks for, in the policy's device. folder: the run's own. Raises ModelError."""
    device = next(policy.model.parameters()).device
    if preset.ppo.critic == "head":
        if actor.head is None:
            raise ModelError("ppo.critic: the last hidden state of this model cannot be told apart; use model")
        return HeadCritic(actor.head.projection.in_features, device)
    source, learned = _begins_as(preset, policy)
    critic = load_reward_model(_as_reward_model(preset, source), device=device, dtype=dtype, base=folder / CRITIC_BASE)
    if not same_tokens(policy.tokenizer, critic.tokenizer):
        remedy = "name one with the policy's tokenizer, or leave it empty"
        raise ModelError(f"ppo.critic_path: {source} reads other tokens than the policy; {remedy}")
    _set_scale(critic, source, learned)
    return OwnCritic(critic)


def _begins_as(preset: PpoPreset, policy: Policy) -> tuple[str, LearnedReward | None]:
    """What the critic is made of, and the part of the reward that gives the scores it begins with, if one does."""
    learned = [part for part in preset.rewards if isinstance(part, LearnedReward)]
    if preset.ppo.critic_path is not None:
        path = preset.ppo.critic_path
        return path, next((part for part in learned if part.path == path), None)
    for part in learned:
        if reads_tokens_of(part.path, policy.tokenizer):
            return part.path, part
    return preset.model.path, None


def _as_reward_model(preset: PpoPreset, source: str) -> RewardModelPreset:
    """The critic is loaded as a reward model is, with an adapter like the policy's."""
    model = preset.model.model_copy(update={"path": source, "reference": None})
    training = preset.training
    return RewardModelPreset(method="reward_model", seed=preset.seed, model=model, data=preset.data, training=training)


def _set_scale(critic: Policy, source: str, learned: LearnedReward | None) -> None:
    """Let the first values be guesses of the reward: those of a reward model on its scale, others zero."""
    config: Any = critic.model.config
    if hasattr(config, "value_offset"):  # it was a critic before
        return
    config.value_offset = 0.0
    head = head_of(critic.model)
    with torch.no_grad():
        if not gives_scores(source):
            for parameter in head.parameters():
                parameter.zero_()
        elif learned is not None:
            mean, std = stored_spread(source) if learned.normalize else (0.0, 1.0)
            for parameter in head.parameters():
                parameter.mul_(learned.weight / std)
            config.value_offset = -learned.weight * mean / std

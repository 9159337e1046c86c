"""The critic: what it begins as, what its values are, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoint import save_model
from engine.contract.preset import PpoPreset
from engine.data.byte_tokenizer import byte_tokenizer
from engine.logprobs import TokenScorer
from engine.models import ModelError, Policy
from engine.value_models import ActorCritic, Critic, HeadCritic, OwnCritic, load_critic
from tests.engine.test_rankings import bert_tokenizer
from tests.engine.test_reward_models import one_mark_tokenizer
from tests.tiny import random_ids, rows_of, tiny_critic, tiny_model, tiny_policy, tiny_reward_model

PAIRS = [(random_ids(4, seed=1), random_ids(3, seed=2)), (random_ids(2, seed=3), random_ids(5, seed=4))]


def saved(
    folder: Path, model: Any, *, mean: float | None = None, std: float | None = None, tokenizer: Any = None
) -> str:
    if mean is not None:
        model.config.reward_mean, model.config.reward_std = mean, std
    save_model(model, tokenizer or byte_tokenizer(), folder)
    return str(folder)


def preset_of(policy: str, *rewards: dict[str, Any], **own: Any) -> PpoPreset:
    return PpoPreset.model_validate(
        {
            "method": "ppo",
            "model": {"path": policy, "device": "cpu"},
            "data": {"train": "x.jsonl"},
            "rewards": list(rewards) or [{"kind": "verifier"}],
            "ppo": own,
        }
    )


def critic_of(preset: PpoPreset, folder: Path) -> Critic:
    policy = tiny_policy()
    return load_critic(preset, TokenScorer(policy.model), policy, dtype=torch.float32, folder=folder)


def values(critic: Critic) -> torch.Tensor:
    with torch.no_grad():
        return critic.values(rows_of(PAIRS), TokenScorer(tiny_policy().model))


def test_a_value_is_what_the_model_thinks_before_the_token() -> None:
    """The score of the text up to each token, as transformers gives it for that text alone."""
    model = tiny_reward_model()
    prompt, answer = PAIRS[0]

    found = values(tiny_critic())[: len(answer)]
    with torch.no_grad():
        texts = [[*prompt, *answer[:place]] for place in range(len(answer))]
        wanted = [float(model(input_ids=torch.tensor([text])).logits[0, 0]) for text in texts]
    assert found.tolist() == pytest.approx(wanted, abs=1e-5)


def test_a_critic_made_of_a_language_model_begins_at_zero(tmp_path: Path) -> None:
    critic = critic_of(preset_of(saved(tmp_path / "policy", tiny_model())), tmp_path)
    assert torch.equal(values(critic), torch.zeros(8))


def test_a_critic_begins_as_the_reward_model_on_the_scale_of_the_reward(tmp_path: Path) -> None:
    path = saved(tmp_path / "scorer", tiny_reward_model(), mean=0.5, std=2.0)
    plain = values(critic_of(preset_of("x", {"kind": "model", "path": path, "normalize": False}), tmp_path))
    scaled = values(critic_of(preset_of("x", {"kind": "model", "path": path, "weight": 3.0}), tmp_path))
    assert torch.allclose(scaled, 3 * (plain - 0.5) / 2, atol=1e-5)
    assert plain.abs().max() > 0.1


def test_a_critic_that_was_one_goes_on_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "scorer", tiny_reward_model(), mean=0.5, std=2.0)
    first = critic_of(preset_of("x", {"kind": "model", "path": path}), tmp_path)
    first.save(tmp_path / "critic", whole=True)
    again = critic_of(preset_of("x", {"kind": "model", "path": path}, critic_path=str(tmp_path / "critic")), tmp_path)
    assert torch.equal(values(again), values(first))


def test_where_the_reward_model_reads_other_tokens_the_critic_begins_as_the_policy(tmp_path: Path) -> None:
    scorer = saved(tmp_path / "bert", tiny_reward_model("bert"), tokenizer=bert_tokenizer())
    policy = saved(tmp_path / "policy", tiny_model())
    critic = critic_of(preset_of(policy, {"kind": "model", "path": scorer}), tmp_path)
    assert torch.equal(values(critic), torch.zeros(8))


def test_a_critic_that_reads_other_tokens_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "other", tiny_reward_model(), tokenizer=one_mark_tokenizer())
    with pytest.raises(ModelError, match="reads other tokens than the policy; name one with the policy's tokenizer"):
        critic_of(preset_of("x", critic_path=path), tmp_path)


def test_a_head_begins_at_zero_and_its_error_reaches_the_policy_unless_it_learns_alone(tmp_path: Path) -> None:
    policy = tiny_policy()
    actor = TokenScorer(policy.model)
    head = load_critic(preset_of("x", critic="head"), actor, policy, dtype=torch.float32, folder=tmp_path)
    assert isinstance(head, HeadCritic)
    both = ActorCritic(actor, head)
    rows = rows_of(PAIRS)
    assert torch.equal(both(rows).values, torch.zeros(8))
    torch.nn.init.normal_(head.head.weight)
    both(rows, critic_alone=True).values.sum().backward()
    assert all(parameter.grad is None for parameter in policy.model.parameters())
    both(rows).values.sum().backward()
    assert any(parameter.grad is not None for parameter in policy.model.parameters())


def test_a_head_is_saved_and_taken_back(tmp_path: Path) -> None:
    head, other = (HeadCritic(32, torch.device("cpu")) for _ in range(2))
    torch.nn.init.normal_(head.head.weight)
    head.save(tmp_path / "critic", whole=False)
    other.restore(tmp_path / "critic")
    assert torch.equal(other.head.weight, head.head.weight)


def test_scores_and_values_come_from_one_reading(tmp_path: Path) -> None:
    policy = tiny_policy()
    actor = TokenScorer(policy.model)
    rows = rows_of(PAIRS)
    both = ActorCritic(actor, HeadCritic(32, torch.device("cpu")))
    assert torch.equal(both(rows, 0.7).logps, actor(rows, 0.7).logps)


def test_an_encoder_is_no_critic(tmp_path: Path) -> None:

    with pytest.raises(ModelError, match="gives no score token by token"):
        OwnCritic(Policy(tiny_reward_model("bert"), byte_tokenizer(), has_adapter=False))

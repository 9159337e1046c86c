"""However a model is read, by its layers, through transformers or from the beginning, its answers are the same."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.contract.online_settings import Rollout
from engine.logprobs import split_head
from engine.models import Policy
from engine.rollout import caches, decode, grouped, layers, local
from engine.rollout.caches import grid_of
from engine.rollout.generic import GenericReader, RereadingReader, keeps_a_cache
from engine.rollout.grouped import GroupedReader
from engine.rollout.layers import Layers, readable_head
from engine.rollout.local import sample_answers
from engine.rollout.memory import row_bytes, rows_at_once
from engine.rollout.protocol import Answer
from tests.tiny import random_ids, scored, tiny_model, tiny_policy

#: Prompts of uneven lengths, so that some are padded.
PROMPTS = [random_ids(length, seed=length) for length in (3, 11, 1, 6)]
SEEDS = [[10 * prompt + member for member in range(3)] for prompt in range(4)]

#: Models that differ from a Llama in one thing that a reader of its layers would miss.
ODD: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 8, "sliding_window": 4},  # every other layer looks through a window
    "mistral": {"sliding_window": 4},
    "lfm2": {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]},  # a state in place of a cache
    "mamba": {"state_size": 4},  # no attention, and a cache under another name
    "granite": {"residual_multiplier": 0.5},  # parts of the same names, added up otherwise
    "olmo": {},  # norms without weights
}


def policy_of(family: str, **extra: Any) -> Policy:
    policy = Policy(tiny_model(family, **extra), tiny_policy().tokenizer, has_adapter=False)
    config: Any = policy.model.generation_config
    config.eos_token_id = list(range(1, 30))  # rows end at different times
    return policy


@pytest.fixture(params=["prompts in front of rows", "prompts once a group"])
def _kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to keep keys and values, whatever would be the faster."""
    monkeypatch.setattr(caches, "SMALL", 0 if "once" in request.param else 2**40)


def flat(answers: list[list[Answer]]) -> list[Answer]:
    return [answer for group in answers for answer in group]


def read_with(kind: Any, policy: Policy, monkeypatch: pytest.MonkeyPatch, **how: Any) -> list[Answer]:
    """Answers written by one kind of reader, whatever the model would get."""
    with monkeypatch.context() as patch:
        patch.setattr(local, "_reader", kind)
        return flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(**{"max_new_tokens": 12, **how})))


def assert_same(left: list[Answer], right: list[Answer]) -> None:
    assert [answer.ids for answer in left] == [answer.ids for answer in right]
    assert len({len(answer.ids) for answer in left}) > 2
    difference = [a - b for x, y in zip(left, right, strict=True) for a, b in zip(x.logps, y.logps, strict=True)]
    assert torch.tensor(difference).abs().max() < 1e-4


# ------------------------------------------------------------------------------------------ which reader, and why


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_llama_and_its_kin_are_read_by_their_layers(family: str) -> None:
    policy = policy_of(family)
    assert isinstance(local._reader(policy, PROMPTS, 2, 4), GroupedReader)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "mistral", "granite", "lfm2"])
def test_a_model_whose_layers_are_others_is_read_through_transformers(family: str) -> None:
    policy = policy_of(family, **ODD.get(family, {}))
    assert isinstance(local._reader(policy, PROMPTS, 2, 4), GenericReader)


def test_a_model_without_a_cache_of_its_tokens_is_read_from_the_beginning() -> None:
    policy = policy_of("mamba", **ODD["mamba"])
    assert not keeps_a_cache(policy.model)
    assert isinstance(local._reader(policy, PROMPTS, 2, 4), RereadingReader)


@pytest.mark.real_model
def test_a_trained_model_that_rounds_badly_at_one_token_is_read_by_its_layers(smollm2_gguf: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name)
    assert readable_head(model) is not None


def test_a_model_that_computes_otherwise_is_told_by_its_logits() -> None:
    """The same parts, and norms that forget a tenth of what they are to let through."""
    model = tiny_model("llama")
    for layer in model.model.layers:
        layer.input_layernorm.forward = partial(_nine_tenths, layer.input_layernorm)
    head = split_head(model)
    assert head is not None
    assert not layers._agrees(model, head)


def _nine_tenths(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    passed: torch.Tensor = type(norm).forward(norm, hidden)
    return 0.9 * passed


def test_positions_that_turn_otherwise_in_long_texts_are_left_to_transformers() -> None:
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert readable_head(tiny_model("llama", rope_parameters=dynamic)) is None


def test_a_model_that_somebody_listens_to_is_called_as_it_is() -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.register_forward_hook(lambda *_: None)
    assert readable_head(model) is None


def test_virtual_tokens_are_left_to_transformers() -> None:
    from peft import PromptTuningConfig, get_peft_model

    wrapped = get_peft_model(tiny_model("llama"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    assert readable_head(wrapped) is None


# ------------------------------------------------------------------------------------------------- the same answers


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize(
    "kind", [{}, {"attention_bias": True}, {"num_key_value_heads": 4}, {"tie_word_embeddings": True}]
)
def test_layers_read_by_themselves_write_what_the_whole_model_writes(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of("llama", **kind)
    assert_same(
        flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12))),
        read_with(GenericReader, policy, monkeypatch),
    )


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_its_kin_write_what_the_whole_model_writes(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(family)
    ours = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12)))
    assert_same(ours, read_with(RereadingReader, policy, monkeypatch))


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_matrices_are_multiplied_alike_joined_and_apart(lora: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy(lora=lora)
    monkeypatch.setattr(Policy, "end_ids", list(range(1, 30)))
    usual = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12)))
    monkeypatch.setattr("engine.rollout.layers.JOINED_AT_MOST", 0)
    assert_same(usual, flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12))))


def test_an_adapter_that_is_switched_off_is_switched_off_for_sampling() -> None:
    policy, bare = tiny_policy(lora=True), tiny_policy()
    assert isinstance(local._reader(policy, PROMPTS, 1, 4), GroupedReader)
    with policy.without_adapter():
        off = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=6)))
    expected = flat(sample_answers(bare, PROMPTS, SEEDS, Rollout(max_new_tokens=6)))
    assert [answer.ids for answer in off] == [answer.ids for answer in expected]


def test_weights_that_changed_are_those_that_sample() -> None:
    """Joined matrices are copies; they must not outlive a step of training."""
    policy = policy_of("llama")
    sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=2))
    model: Any = policy.model
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.neg_()
        model.model.layers[1].self_attn.q_proj.weight.neg_()
    answers = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12)))
    prompts = [prompt for prompt in PROMPTS for _ in range(3)]
    sampler = torch.tensor([logp for answer in answers for logp in answer.logps])
    assert torch.allclose(scored(policy.model, prompts, answers, 1.0), sampler, atol=1e-4)


@pytest.mark.parametrize("family", ODD)
def test_an_odd_model_samples_what_it_scores(family: str) -> None:
    policy = policy_of(family, **ODD[family])
    answers = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12)))
    assert len({len(answer.ids) for answer in answers}) > 2
    for answer, prompt in zip(answers, [prompt for prompt in PROMPTS for _ in range(3)], strict=True):
        logits = policy.model(input_ids=torch.tensor([[*prompt, *answer.ids]]), use_cache=False).logits[0]
        logps = torch.log_softmax(logits.float(), dim=-1)[len(prompt) - 1 : -1]
        alone = logps.gather(-1, torch.tensor(answer.ids)[:, None]).squeeze(-1)
        assert torch.allclose(alone, torch.tensor(answer.logps), atol=1e-3), family


# ------------------------------------------------------------------------------------------------- what is read once


def test_a_prompt_is_read_once_for_its_group_and_no_padding_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    read = Layers.read

    def counted(self: Layers, ids: Any, *more: Any) -> Any:
        seen.append(len(ids))
        return read(self, ids, *more)

    policy = tiny_policy()
    monkeypatch.setattr(Policy, "end_ids", [])
    local._reader(policy, PROMPTS, 3, 4)  # what is found out about a model once
    monkeypatch.setattr(Layers, "read", counted)
    sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=3))
    assert seen == [3 + 11 + 1 + 6, 12, 12]  # the prompts' tokens; then one of each answer, but for the last


@pytest.mark.usefixtures("_kept")
def test_long_prompts_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of("llama")
    usual = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12)))
    monkeypatch.setattr(grouped, "TOKENS_AT_ONCE", 9)
    assert [list(range(4))[part] for part in grouped._parts(PROMPTS)] == [[0], [1], [2, 3]]
    assert_same(usual, flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12))))


def test_keys_and_values_are_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' own layers copy all there is for each token; where rows leave, the rest moves up in place."""
    policy = policy_of("gpt2")
    reader = GenericReader(policy, PROMPTS, 2, 6)
    layers: list[Any] = reader._cache.layers
    places = [layer.keys.data_ptr() for layer in layers]
    reader.read(torch.zeros(8, dtype=torch.long))
    reader.keep(torch.tensor([1, 2, 5]))
    reader.read(torch.zeros(3, dtype=torch.long))
    assert [layer.keys.data_ptr() for layer in layers] == places
    assert [tuple(layer.keys.shape) for layer in layers] == [(3, 4, 13, 8)] * 2


def test_rows_of_uneven_groups_find_their_places() -> None:
    grid = grid_of(torch.tensor([0, 0, 0, 1, 2, 2]))
    assert (grid.groups, grid.places) == (3, 3)
    states = torch.arange(1.0, 7.0).view(6, 1, 1, 1)
    assert grid.lay(states).flatten(1).tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    assert grid.take(grid.lay(states)).equal(states)


@pytest.mark.parametrize(("small", "kind"), [(2**22, caches.RowsCache), (2**10, caches.GroupsCache)])
def test_prompts_stand_in_front_of_each_row_while_that_is_little(
    small: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "SMALL", small)
    reader = local._reader(policy_of("llama"), PROMPTS, 3, 4)
    assert isinstance(reader, GroupedReader)
    assert type(reader._cache) is kind


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("share", [0.0, 0.5], ids=["at once", "half"])
def test_groups_that_shrink_unevenly_change_nothing(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of("llama")
    monkeypatch.setattr(decode, "WORTH_LEAVING", share)
    ours = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12)))
    assert_same(ours, read_with(RereadingReader, policy, monkeypatch))


# --------------------------------------------------------------------------------------------------------- memory


def test_a_row_takes_its_keys_and_values_and_its_logits() -> None:
    # 2 layers of 2 heads of 8 numbers, keys and values, 4 bytes each: 256 a token; 16 bytes for each of 258 words.
    assert row_bytes(tiny_model("llama"), tokens=100) == 256 * 100 + 16 * 258


def test_memory_says_how_many_answers_are_written_at_once() -> None:
    model = tiny_model("llama", vocab_size=258)
    how = Rollout(max_new_tokens=100, memory=1)
    assert rows_at_once(model, how, longest_prompt=20) == 2**20 // (256 * 120 + 16 * 258)
    assert rows_at_once(model, Rollout(max_new_tokens=100_000, memory=1), longest_prompt=20) == 1


@pytest.mark.parametrize("rows", [1, 2, 5, 7])
def test_answers_written_in_turns_are_those_written_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of("llama")
    usual = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12)))
    monkeypatch.setattr(local, "rows_at_once", lambda *_: rows)
    assert_same(usual, flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=12))))


# ----------------------------------------------------------------------------------------------------- texts that stop


def test_a_stop_text_ends_an_answer_and_stays_in_it() -> None:
    policy = tiny_policy()
    whole = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=40)))
    decode_text = policy.tokenizer.decode
    stop = decode_text(whole[0].ids[8:10])
    stopped = flat(sample_answers(policy, PROMPTS, SEEDS, Rollout(max_new_tokens=40, stop=[stop, "never seen"])))
    assert stop in decode_text(stopped[0].ids)
    assert stop not in decode_text(stopped[0].ids[:-1])
    for before, after in zip(whole, stopped, strict=True):
        assert after.ids == before.ids[: len(after.ids)]
        if len(after.ids) < len(before.ids):
            assert after.finish == "stop"
            assert stop in decode_text(after.ids)

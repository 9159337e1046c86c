"""Every kind of adapter: exact under the scorer and the sampler, learns, resumes, and opens with peft as it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from engine.adapters import AdapterError, add_adapter
from engine.checkpoint import restore_model
from engine.contract import commands, events
from engine.contract.online_settings import Rollout
from engine.contract.preset import load_text_preset
from engine.contract.run_dir import RunDir
from engine.contract.settings import Adapter, Model
from engine.data.batching import pad_rows
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.chat import ChatEncoder
from engine.data.sources import load_rows
from engine.logprobs import Rows, TokenScorer
from engine.models import Policy, load_policy, open_model
from engine.rollout.local import sample_answers
from tests.engine import running
from tests.tiny import FAMILIES, random_ids, rows_of, scored, tiny_model, whole_logps

KINDS = list(running.ADAPTERS)
VIRTUAL = ["prompt_tuning", "prefix_tuning"]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_family = pytest.mark.parametrize("family", FAMILIES)
PAIRS = [
    (random_ids(9, seed=1), random_ids(6, seed=2)),
    (random_ids(2, seed=3), random_ids(11, seed=4)),
    (random_ids(1, seed=5), random_ids(1, seed=6)),
]


def adapted(kind: str, family: str = "llama", extra: dict[str, Any] | None = None) -> Any:
    """A tiny model with an adapter that does something."""
    adapter = Adapter.model_validate(running.ADAPTERS[kind])
    model = add_adapter(tiny_model(family, **(extra or {})), adapter, byte_tokenizer(), seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        for parameter in model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.2)
    return model.eval()


def peft_logps(model: nn.Module, prompt: list[int], answer: list[int]) -> Tensor:
    """The answer's log-probabilities by peft's own forward, which gives logits for virtual tokens too."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]]), attention_mask=torch.ones(1, len(prompt + answer)))
    logps = torch.log_softmax(logits.logits[0].float(), dim=-1)
    return torch.stack([logps[place - len(answer) - 1, token] for place, token in enumerate(answer)])


# ------------------------------------------------------------------------------------------------- exact everywhere


@every_family
@every_kind
def test_scores_are_pefts_own_whatever_the_padding(kind: str, family: str) -> None:
    model = adapted(kind, family)
    expected = torch.cat([peft_logps(model, *pair) for pair in PAIRS])
    bare = torch.cat([whole_logps(tiny_model(family), *pair) for pair in PAIRS])
    assert (expected - bare).abs().max() > 0.05
    scorer, right = TokenScorer(model), rows_of(PAIRS)
    assert scorer.head is not None
    assert torch.allclose(scorer(right).logps, expected, atol=2e-5)
    turned = [torch.stack([r.roll(int((~m).sum())) for r, m in zip(p, right.is_token, strict=True)]) for p in right]
    assert torch.allclose(scorer(Rows(*turned)).logps, expected, atol=2e-5)


@every_family
@every_kind
def test_the_adapter_off_is_the_model_itself(kind: str, family: str) -> None:
    policy = Policy(adapted(kind, family), byte_tokenizer(), has_adapter=True)
    bare = Policy(tiny_model(family), byte_tokenizer(), has_adapter=False)
    scorer, plain = TokenScorer(policy.model), TokenScorer(bare.model)
    with policy.without_adapter():
        assert torch.equal(scorer(rows_of(PAIRS)).logps, plain(rows_of(PAIRS)).logps)
        off = sample_answers(policy, [PAIRS[0][0]], [[1, 2]], Rollout(max_new_tokens=6))
    expected = sample_answers(bare, [PAIRS[0][0]], [[1, 2]], Rollout(max_new_tokens=6))
    assert [answer.ids for answer in off[0]] == [answer.ids for answer in expected[0]]
    # Not to the last bit: a bare model's small matrices are joined, and such products round otherwise.
    logps = torch.tensor([[answer.logps for answer in group] for group in (off[0], expected[0])])
    assert torch.allclose(logps[0], logps[1], atol=1e-5)
    assert (scorer(rows_of(PAIRS)).logps - plain(rows_of(PAIRS)).logps).abs().max() > 0.05


SLIDING = {"gemma2": {"head_dim": 8, "sliding_window": 4}, "mistral": {"sliding_window": 6}}


@pytest.mark.parametrize(
    ("kind", "family"), [*((k, f) for k in KINDS for f in FAMILIES), *(("prompt_tuning", f) for f in SLIDING)]
)
def test_sampler_and_trainer_are_one(kind: str, family: str) -> None:
    """Prompts of uneven length are padded on the left; a sliding window is shorter than some of that padding."""
    policy = Policy(adapted(kind, family, SLIDING.get(family)), byte_tokenizer(), has_adapter=True)
    policy.model.generation_config.eos_token_id = list(range(1, 40))  # type: ignore[union-attr]
    prompts = [random_ids(length, seed=length) for length in (3, 11, 1)]
    groups = sample_answers(
        policy, prompts, [[3 * i + j for j in range(3)] for i in range(3)], Rollout(max_new_tokens=9)
    )
    answers = [answer for group in groups for answer in group]
    assert len({len(answer.ids) for answer in answers}) > 2
    trainer = scored(policy.model, [p for p in prompts for _ in range(3)], answers, 1.0)
    sampler = torch.tensor([logp for answer in answers for logp in answer.logps])
    assert torch.expm1(trainer - sampler).abs().max() < 1e-4


@every_family
@pytest.mark.parametrize("kind", VIRTUAL)
def test_virtual_tokens_begin_as_the_text_itself(kind: str, family: str) -> None:
    """A new adapter of `init_text` is the model with that text before every row."""
    text = "Be brief!"
    adapter = Adapter(kind=kind, virtual_tokens=len(text), init_text=text)
    model = add_adapter(tiny_model(family), adapter, byte_tokenizer(), seed=1).eval()
    before = byte_tokenizer()(text)["input_ids"]
    expected = torch.cat([whole_logps(tiny_model(family), [*before, *prompt], answer) for prompt, answer in PAIRS])
    assert torch.allclose(TokenScorer(model)(rows_of(PAIRS)).logps, expected, atol=2e-5)


@pytest.mark.parametrize("kind", VIRTUAL)
def test_virtual_tokens_take_room_and_rows_in_a_line_have_no_place_for_them(kind: str) -> None:
    policy = Policy(adapted(kind), byte_tokenizer(), has_adapter=True)
    assert policy.context == 128 - 5
    assert not TokenScorer(policy.model).reads_lines()


def test_rank_stabilised_and_decomposed_matrices_are_what_their_papers_say() -> None:
    """rsLoRA scales by alpha / sqrt(rank); DoRA rescales each column of W + BA to a length that is trained."""
    scale = {k: adapted(k).get_base_model().model.layers[0].self_attn.q_proj.scaling["default"] for k in KINDS[:3]}
    assert scale == {"lora": 8 / 4, "dora": 8 / 4, "rslora": 8 / 2}
    layer = adapted("dora").get_base_model().model.layers[0].self_attn.q_proj
    whole = layer.base_layer.weight + 2.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    length = layer.lora_magnitude_vector["default"].weight / whole.norm(dim=1)
    x = torch.randn(3, whole.shape[1], generator=torch.Generator().manual_seed(0))
    bias = 0 if layer.base_layer.bias is None else layer.base_layer.bias
    assert torch.allclose(layer(x), x @ (length[:, None] * whole).T + bias, atol=1e-5)


def test_only_the_adapter_is_trained() -> None:
    for kind in KINDS:
        trained = {name for name, parameter in adapted(kind).named_parameters() if parameter.requires_grad}
        assert trained
        assert all("lora_" in name or "prompt_encoder" in name for name in trained), kind


# ---------------------------------------------------------------------------------------- runs with each kind


def with_adapter(kind: str, **sections: Any) -> Any:
    rate = {"learning_rate": 0.03 if kind in VIRTUAL else 0.01, "schedule": "constant"}
    return running.sft(model={"adapter": running.ADAPTERS[kind]}, optimizer=rate, **sections)


@pytest.fixture(scope="module", params=KINDS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of each kind that learned sums, with a look at held-out ones at its end."""
    preset = with_adapter(
        request.param,
        data={"eval": {**running.SUMS, "seed": 2, "rows": 10}},
        training={"steps": 30, "eval_every": 30, "checkpoint_every": 0},
    )
    return running.done(tmp_path_factory.mktemp(request.param) / "run", preset)


def test_each_kind_learns(finished: RunDir) -> None:
    losses = running.values_of(finished, "loss")
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_final_opens_with_peft_and_gives_the_runs_own_numbers(finished: RunDir) -> None:
    """By the name of its base alone, and laid on a base that was opened apart."""
    rows = load_rows([running.sft(data={"train": {**running.SUMS, "seed": 2, "rows": 10}}).data.train[0]]).rows
    encoder = ChatEncoder(byte_tokenizer())
    examples = [encoder.example(row, completion_only=True, max_length=32) for row in rows]
    by_name = AutoPeftModelForCausalLM.from_pretrained(str(finished.final))
    base = AutoModelForCausalLM.from_pretrained(finished.path / "base")
    apart = PeftModel.from_pretrained(base, str(finished.final))
    [told] = running.of_kind(finished, events.Evaluation)
    for model in (by_name, apart):
        logps = []
        for example in examples:
            first = example.is_target.index(True)
            logps.append(peft_logps(model.eval(), example.ids[:first], example.ids[first:]))
        assert -torch.cat(logps).mean().item() == pytest.approx(told.values["eval_loss"], rel=1e-5)
        assert -TokenScorer(model)(pad_rows(examples, 0)).logps.mean().item() == pytest.approx(
            told.values["eval_loss"], rel=1e-5
        )


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_run_of_each_kind_stopped_and_resumed_equals_one_never_stopped(tmp_path: Path, kind: str) -> None:
    preset = with_adapter(kind, training={"steps": 4})
    undisturbed = running.done(tmp_path / "undisturbed", preset)
    run = running.new_run(tmp_path / "stopped", preset)

    def stop_in_3(step: int) -> None:
        if step == 3:
            commands.send(run.commands, "stop")

    assert running.run_here_watched(run, stop_in_3) == running.STOPPED
    assert running.run_here(run, commands_from=run.commands.stat().st_size) == running.FINISHED
    running.assert_same_weights(run.final, undisturbed.final)
    assert running.curve(run) == running.curve(undisturbed)


@every_kind
def test_a_policy_of_rewards_samples_as_it_learns_and_its_final_opens_with_peft(tmp_path: Path, kind: str) -> None:
    run = running.done(tmp_path / "run", running.grpo(model={"adapter": running.ADAPTERS[kind]}, training={"steps": 2}))
    assert max(running.values_of(run, "ratio/max_error")) < 1e-4
    model = AutoPeftModelForCausalLM.from_pretrained(str(run.final)).eval()
    # The run's last answers were drawn before its last update; a policy given the last weights draws new ones.
    running.assert_same_weights(run.final, run.checkpoint(2))
    policy = Policy(adapted_from(run), byte_tokenizer(), has_adapter=True)
    how = Rollout(max_new_tokens=5)
    for prompt in ("1+1=", "23+4="):
        ids = byte_tokenizer()(prompt)["input_ids"]
        [[ours]] = sample_answers(policy, [ids], [[7]], how)
        assert peft_logps(model, ids, ours.ids).sum().item() == pytest.approx(sum(ours.logps), abs=1e-4)


def adapted_from(run: RunDir) -> Any:
    """The run's policy, built as at its start and given the weights of its end."""
    preset = load_text_preset(run.preset)
    policy = load_policy(
        preset.model,
        device=torch.device("cpu"),
        dtype=torch.float32,
        seed=preset.seed,
        with_reference=False,
        merged_base=run.path / "base",
    )
    restore_model(run.checkpoint(2), policy.model, has_adapter=True)
    return policy.model.eval()


# ------------------------------------------------------------------------------------------------------- refusals


def test_training_goes_on_from_matrices_merged_and_not_from_virtual_tokens(finished: RunDir) -> None:
    again = Model(path=str(finished.path), adapter=Adapter())
    if adapter_of(finished).is_low_rank:
        model, _ = open_model(again, dtype=torch.float32, seed=0)
        laid_on = TokenScorer(AutoPeftModelForCausalLM.from_pretrained(str(finished.final)).eval())
        assert torch.allclose(TokenScorer(model)(rows_of(PAIRS)).logps, laid_on(rows_of(PAIRS)).logps, atol=1e-5)
    else:
        with pytest.raises(AdapterError, match="cannot be merged into a model's weights; name the model"):
            open_model(again, dtype=torch.float32, seed=0)


def adapter_of(run: RunDir) -> Adapter:
    adapter = load_text_preset(run.preset).model.adapter
    assert adapter is not None
    return adapter


def test_prefix_tuning_of_a_model_with_a_sliding_window_is_refused_in_words() -> None:
    with pytest.raises(AdapterError, match="prefix tuning does not know how"):
        add_adapter(tiny_model("mistral", sliding_window=32), Adapter(kind="prefix_tuning"), byte_tokenizer(), seed=0)

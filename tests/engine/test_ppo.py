"""PPO as a whole: what must not change its curve, what its choices do, what it records, and what it warns of."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from engine.assembly import optimizer_of
from engine.contract.online_settings import Ppo
from engine.contract.preset import PpoPreset, check
from engine.data.sources import Row
from engine.kl_control import Moments
from engine.logprobs import Rows, TokenScorer
from engine.methods import METHODS
from engine.methods.alarms import SILENT_STEPS
from engine.methods.experience import Lived, judged
from engine.methods.ppo import minibatches
from engine.methods.watch import Watch
from engine.models import ModelError, Policy
from engine.ppo_losses import ppo_loss
from engine.rewards import Reward
from engine.rollout.protocol import Answer
from engine.value_models import HeadCritic
from tests.engine import running
from tests.tiny import bench_of, random_ids, rows_of, run_steps, tiny_critic, tiny_policy

pytestmark = pytest.mark.usefixtures("fork_server")

ROWS: list[Row] = [{"prompt": f"{n}+1="} for n in range(1, 9)]
#: At a rate at which a mistake in the sum shows in the third step.
FAST = {"learning_rate": 1e-2}


def policy_with_reference() -> Policy:
    return replace(tiny_policy(), reference=tiny_policy().model)


# ------------------------------------------------------------------------------------------- what must not change it


@pytest.mark.parametrize("critic", ["model", "head"])
def test_it_learns_the_same_however_its_batch_is_cut(tmp_path: Path, critic: str) -> None:
    runs = [
        running.done(
            tmp_path / f"by-{size}",
            running.ppo(
                training={"micro_batch_size": size, "steps": 3},
                optimizer=FAST,
                ppo={"minibatches": 1, "critic": critic},
            ),
        )
        for size in (8, 3, 1)
    ]
    for run in runs[1:]:
        assert [a.token_ids for a in running.answers_of(run)] == [a.token_ids for a in running.answers_of(runs[0])]
        for name in ("objective/kl", "loss/value", "grad_norm", "val/ratio", "policy/entropy_avg"):
            assert running.values_of(run, name) == pytest.approx(running.values_of(runs[0], name), rel=1e-4, abs=1e-6)
        assert running.values_of(run, "loss") == pytest.approx(running.values_of(runs[0], "loss"), abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_on_which_side_a_batch_is_padded_changes_no_value(family: str) -> None:
    """Rows of other lengths beside it, and padding before it: gpt2 counts positions, llama turns by them."""
    critic, actor = tiny_critic(family), TokenScorer(tiny_policy(family).model)
    pairs = [(random_ids(5, seed=1), random_ids(3, seed=2)), (random_ids(2, seed=3), random_ids(1, seed=4))]
    rows = rows_of(pairs)
    shifts = [rows.is_token.shape[1] - len(p) - len(a) for p, a in pairs]
    left = Rows(*(torch.stack([row.roll(by) for row, by in zip(t, shifts, strict=True)]) for t in rows))
    with torch.no_grad():
        alone = torch.cat([critic.values(rows_of([pair]), actor) for pair in pairs])
        for laid_out in (rows, left):
            assert critic.values(laid_out, actor).allclose(alone, atol=1e-5)


def test_one_update_with_lambda_1_has_the_gradient_of_reinforce_with_the_critic_as_baseline() -> None:
    torch.manual_seed(0)
    lengths, scores = [3, 1, 4, 2], [1.0, -0.5, 0.25, 2.0]
    logits = torch.randn(sum(lengths), 7, dtype=torch.float64, requires_grad=True)
    logps = torch.log_softmax(logits, dim=-1).gather(1, torch.randint(0, 7, (len(logits), 1))).squeeze(1)
    values = torch.randn(sum(lengths)).tolist()
    lived, at = [], 0
    for length, score in zip(lengths, scores, strict=True):
        answer = Answer([2] * length, logps[at : at + length].tolist(), "stop", [])
        lived.append(Lived({}, [3], answer, "", Reward(score, {}), [], values[at : at + length]))
        at += length
    own = Ppo(beta=0.0, gamma=1.0, lam=1.0, whiten_advantages=False)
    learned = judged(lived, own, beta=0.0, moments=Moments())
    advantages = torch.tensor([a for one in learned for a in one.advantages], dtype=torch.float64)
    zeros = torch.zeros_like(advantages)
    ours = ppo_loss(
        *(logps, logps.detach(), advantages, zeros, zeros, zeros, zeros),
        normaliser=float(len(logits)),
        epsilon=0.2,
        value_epsilon=None,
        value_weight=0.1,
        entropy_weight=0.0,
    ).share
    better = torch.tensor(scores).repeat_interleave(torch.tensor(lengths)).double() - torch.tensor(values).double()
    reinforce = -(better * logps).sum() / len(logits)
    found, wanted = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (ours, reinforce))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    assert float(wanted.abs().max()) > 0.01


def test_every_answer_is_in_one_minibatch_of_each_pass_and_passes_differ() -> None:
    lived = [Lived({}, [3], Answer([2], [-1.0], "stop", []), "", Reward(float(n), {}), [], [0.0]) for n in range(8)]
    own = Ppo(beta=0.0, epochs=3, minibatches=4)
    parts = list(minibatches(judged(lived, own, beta=0.0, moments=Moments()), own, seed=1))
    scores = [[one.score for one in part] for part in parts]
    assert [len(part) for part in scores] == [2] * 12
    passes = [tuple(score for part in scores[at : at + 4] for score in part) for at in range(0, 12, 4)]
    assert [sorted(whole) for whole in passes] == [list(range(8))] * 3
    assert len(set(passes)) == 3


# -------------------------------------------------------------------------------------------------- what choices do


def weights_of(policy: Policy) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in policy.model.parameters()]


def test_where_answers_are_missing_processes_share_what_divides_evenly() -> None:
    own = Ppo(epochs=1, minibatches=2)
    learned: Any = list(range(7))  # stands for 7 of 8 answers: 3 and 4 of them, shared by two
    sizes = [len(part) for part in minibatches(learned, own, seed=0, processes=2)]
    assert sizes == [2, 4]
    assert list(minibatches(learned[:1], own, seed=0, processes=2)) == []


@pytest.mark.parametrize("critic", ["model", "head"])
def test_while_the_critic_warms_up_the_policy_stays_bit_for_bit(tmp_path: Path, critic: str) -> None:
    preset = running.ppo(
        optimizer={**FAST, "weight_decay": 0.1},
        training={"steps": 2, "batch_size": 4},
        ppo={"critic_warmup": 2, "critic": critic},
    )
    policy = policy_with_reference()
    own = tiny_critic() if critic == "model" else HeadCritic(32, torch.device("cpu"))
    before, critics = weights_of(policy), [p.detach().clone() for p in own.parameters()]
    run_steps(preset, policy, tmp_path / "warm", ROWS, critic=own)
    assert all(torch.equal(old, new) for old, new in zip(before, policy.model.parameters(), strict=True))
    assert not all(torch.equal(old, new) for old, new in zip(critics, own.parameters(), strict=True))
    longer = preset.model_copy(update={"training": preset.training.model_copy(update={"steps": 3})})
    run_steps(longer, policy, tmp_path / "on", ROWS, critic=own)
    assert not all(torch.equal(old, new) for old, new in zip(before, policy.model.parameters(), strict=True))


def test_the_critic_has_a_learning_rate_of_its_own() -> None:
    preset = running.ppo(optimizer={"learning_rate": 1e-3}, ppo={"critic_learning_rate": 5e-3})
    groups = optimizer_of(preset, tiny_policy().model, tiny_critic()).param_groups
    assert [group.get("lr_scale", 1.0) for group in groups] == pytest.approx([1.0, 1.0, 5.0, 5.0])


def test_a_step_ends_early_once_the_policy_moved_far_enough(tmp_path: Path) -> None:
    presets = [
        running.ppo(optimizer=FAST, training={"steps": 2}, ppo={"epochs": 6, "minibatches": 1, "stop_at_kl": limit})
        for limit in (None, 1e-4)
    ]
    whole, short = (
        run_steps(preset, policy_with_reference(), tmp_path / str(at), ROWS, critic=tiny_critic())
        for at, preset in enumerate(presets)
    )
    assert [step.values["updates"] for step in whole] == [6, 6]
    assert all(step.values["updates"] < 6 for step in short)


def test_an_entropy_bonus_keeps_the_policy_less_certain(tmp_path: Path) -> None:
    found = [
        run_steps(
            running.ppo(optimizer=FAST, training={"steps": 5}, ppo={"entropy_weight": weight}),
            policy_with_reference(),
            tmp_path / str(weight),
            ROWS,
            critic=tiny_critic(),
        )[-1].values["policy/entropy_avg"]
        for weight in (0.0, 1.0)
    ]
    assert found[1] > found[0] + 0.1


def test_a_target_for_kl_moves_beta(tmp_path: Path) -> None:
    preset = running.ppo(optimizer=FAST, ppo={"kl_target": 0.01, "kl_horizon": 8})
    steps = run_steps(preset, policy_with_reference(), tmp_path, ROWS, critic=tiny_critic())
    betas = [step.values["objective/kl_coef"] for step in steps]
    assert betas[0] == 0.1
    assert betas[1] == pytest.approx(0.1 * (1 - 0.2))  # the first answers are the reference's: KL 0, below the target
    assert betas[-1] > betas[1]


def test_the_sampler_is_the_trainer_and_ratios_begin_at_1(tmp_path: Path) -> None:
    steps = run_steps(running.ppo(optimizer=FAST), policy_with_reference(), tmp_path, ROWS, critic=tiny_critic())
    assert max(step.values["ratio/max_error"] for step in steps) < 1e-4
    assert max(abs(step.values["val/ratio"] - 1) for step in steps) > 1e-4


def test_policy_and_critic_are_computed_again_in_backward_where_that_saves_memory(tmp_path: Path) -> None:
    policy, critic = policy_with_reference(), tiny_critic()
    layers = []
    for model in (policy.model, critic.model):
        model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        layers += [layer for layer in model.modules() if getattr(layer, "gradient_checkpointing", False)]
    METHODS["ppo"](running.ppo(), bench_of(policy, tmp_path, train=ROWS, critic=critic))
    assert len(layers) >= 4
    assert all(layer.training for layer in layers)


# ---------------------------------------------------------------------------------------------------- what it leaves


def test_each_recorded_token_has_what_was_known_of_it(tmp_path: Path) -> None:
    run = running.done(tmp_path / "run", running.ppo(training={"steps": 2}))
    answers = running.answers_of(run)
    assert len(answers) == 16
    for answer in answers:
        lists = (answer.logps, answer.reference_logps, answer.token_kls, answer.values, answer.token_rewards)
        assert {len(each) for each in (*lists, answer.advantages, answer.tokens)} == {len(answer.token_ids)}
        assert answer.token_kls == pytest.approx(
            [p - q for p, q in zip(answer.logps, answer.reference_logps, strict=True)], abs=1e-6
        )
        assert answer.reward is not None
        assert sum(answer.token_rewards) == pytest.approx(answer.reward - 0.1 * sum(answer.token_kls), abs=1e-5)


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["full", "adapter"])
def test_final_opens_as_a_language_model_and_the_critic_apart_as_a_scorer(tmp_path: Path, adapter: Any) -> None:
    from peft import AutoPeftModelForCausalLM

    run = running.done(tmp_path / "run", running.ppo(model={"adapter": adapter}, training={"steps": 1}))
    opener: Any = AutoModelForCausalLM if adapter is None else AutoPeftModelForCausalLM
    assert opener.from_pretrained(str(run.final)).config.vocab_size == 258
    critic = AutoModelForSequenceClassification.from_pretrained(str(run.path / "critic"))
    assert critic.config.num_labels == 1
    assert not (run.final / "critic").exists()


# ------------------------------------------------------------------------------------------------- what it warns of


def notices_of(folder: Path) -> str:
    told = [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    return "\n".join(f"{event['what']}; {event['advice']}" for event in told if event["kind"] == "notice")


def test_a_policy_that_left_its_reference_is_told_with_advice(tmp_path: Path) -> None:
    policy = replace(tiny_policy(), reference=tiny_policy(seed=7).model)
    run_steps(running.ppo(training={"steps": 3}), policy, tmp_path, ROWS, critic=tiny_critic())
    assert notices_of(tmp_path).count("the policy has left its reference") == 1
    assert "raise ppo.beta" in notices_of(tmp_path)


def test_answers_that_score_alike_for_fifty_steps_in_a_row_are_told_with_advice(tmp_path: Path) -> None:
    def look(watch: Watch, steps: int, *scores: float) -> None:
        lived = [Lived({}, [3], Answer([2], [-1.0], "stop", []), "", Reward(score, {}), [], [0.0]) for score in scores]
        learned = judged(lived, Ppo(beta=0.0), beta=0.0, moments=Moments())
        for step in range(steps):
            watch.look(step + 1, learned)

    watch = Watch(bench_of(policy_with_reference(), tmp_path).reporter)
    look(watch, SILENT_STEPS - 1, 1.0, 1.0)
    look(watch, 1, 0.0, 1.0)
    look(watch, SILENT_STEPS - 1, 1.0, 1.0)
    assert not (tmp_path / "events.jsonl").exists()  # nothing was told
    look(watch, 2, 1.0, 1.0)
    assert notices_of(tmp_path).count("for 50 steps all answers scored alike, 1: ") == 1
    assert "take easier prompts" in notices_of(tmp_path)


def test_a_model_without_an_end_token_is_told_and_refused_where_each_answer_would_be_fined(tmp_path: Path) -> None:
    policy = policy_with_reference()
    policy.model.generation_config.eos_token_id = None  # type: ignore[union-attr]
    policy.tokenizer.eos_token = None
    bench = bench_of(policy, tmp_path, train=ROWS, critic=tiny_critic())
    METHODS["ppo"](running.ppo(), bench)
    assert "names a token that ends an answer" in notices_of(tmp_path)
    with pytest.raises(ModelError, match=r"would be fined for it; set ppo\.missing_eos_penalty to 0"):
        METHODS["ppo"](running.ppo(ppo={"missing_eos_penalty": 1.0}), bench)


def test_a_prompt_longer_than_the_limit_is_told_once(tmp_path: Path) -> None:
    long: list[Row] = [{"prompt": "1" * 50 + "+1="}] * 8
    preset = running.ppo(data={"train": running.SUMS, "max_length": 32}, training={"steps": 2})
    run_steps(preset, policy_with_reference(), tmp_path, long, critic=tiny_critic())
    assert notices_of(tmp_path).count("a prompt of 53 tokens was shortened to its last 27") == 1


def test_a_critic_that_gives_no_numbers_is_named(tmp_path: Path) -> None:
    critic = tiny_critic()
    critic.model.config.value_offset = math.nan  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="loss and grad_norm became nan"):
        run_steps(running.ppo(), policy_with_reference(), tmp_path, ROWS, critic=critic)
    assert "the critic gave no number" in notices_of(tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rollout": {"top_p": 0.9}}, "draws tokens by another law"),
        ({"rollout": {"top_k": 5}}, "draws tokens by another law"),
        ({"ppo": {"minibatches": 3}}, "cannot share 128 answers evenly"),
        ({"ppo": {"beta": 0.0, "kl_target": 6.0}}, "cannot follow kl_target"),
        ({"ppo": {"critic": "head", "critic_path": "x/y"}}, "has no effect on a head"),
        ({"model": {"path": "x/y", "adapter": {"kind": "prompt_tuning"}}}, "cannot be trained with prompt_tuning"),
    ],
)
def test_settings_that_do_not_go_together_are_faults(changes: dict[str, Any], told: str) -> None:
    data = {"method": "ppo", "model": {"path": "x/y"}, "data": {"train": "x.jsonl"}, "rewards": [{"kind": "verifier"}]}
    preset, faults = check({**data, **changes})
    assert preset is None
    assert told in " ".join(fault.problem for fault in faults)


def test_the_defaults_are_those_of_trl() -> None:
    own = PpoPreset.model_validate(
        {"method": "ppo", "model": {"path": "x/y"}, "data": {"train": "x"}, "rewards": [{"kind": "verifier"}]}
    ).ppo
    theirs = {"beta": 0.05, "kl_estimator": "k1", "epochs": 4, "minibatches": 1, "epsilon": 0.2, "value_epsilon": 0.2}
    theirs |= {"value_weight": 0.1, "gamma": 1.0, "lam": 0.95, "whiten_rewards": False}
    assert {name: getattr(own, name) for name in theirs} == theirs

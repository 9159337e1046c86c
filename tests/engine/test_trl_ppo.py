"""PPO as TRL 1.12 computes it, the last that has it: from the same answers to the same advantages, losses, gradients.

TRL 1.12 lies in a folder of its own beside the packages (`make test` puts it there) and runs in a process of its own.

Differences by design, each with a test of its own: the score stands on the last token, where TRL puts it one later if
there is room; and so the critic is not asked about the state after an answer's end. Means are over the tokens of the
update and never over padding, which test_ppo.py shows by cutting a batch in other ways.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.checkpoint import save_model
from engine.contract.preset import PpoPreset
from engine.data.byte_tokenizer import byte_tokenizer
from engine.kl_control import Moments
from engine.methods import METHODS
from engine.methods.experience import Experience, Lived, judged, rows_of, told
from engine.methods.ppo import _update
from engine.models import Policy
from engine.reward_models import RewardScorer
from engine.rewards import Reward
from engine.rollout.protocol import Answer
from engine.tally import Tally
from engine.value_models import OwnCritic
from tests.engine.trl import STEADY
from tests.tiny import bench_of, random_ids, tiny_model, tiny_reward_model, whole_logps, with_lora

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

ORACLE = Path(sys.prefix) / "oracle"
SCRIPT = Path(__file__).with_name("trl_ppo.py")
LENGTH, END, TEMPERATURE = 6, 1, 0.7
PROMPTS = [random_ids(2 + at % 4, seed=100 + at) for at in range(8)]
#: Half of them end by themselves, in their last token; none is shorter than another.
WHOLE = [[*random_ids(LENGTH - 1, seed=at), END if at % 2 else 7] for at in range(8)]
RAGGED = [answer if at % 2 else [*answer[: 1 + at % 5], END] for at, answer in enumerate(WHOLE)]
#: Settings of TRL, and ours of the same meaning.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "k1": ({}, {}),
    "k3, whitened rewards, a fine for no end": (
        {"kl_estimator": "k3", "whiten_rewards": True, "missing_eos_penalty": 1.0},
        {"kl_estimator": "k3", "whiten_rewards": True, "missing_eos_penalty": 1.0},
    ),
    "discounted, wide clips, more weight on values": (
        {"gamma": 0.97, "lam": 0.8, "cliprange": 0.4, "cliprange_value": 0.5, "vf_coef": 0.5, "kl_coef": 0.3},
        {"gamma": 0.97, "lam": 0.8, "epsilon": 0.4, "value_epsilon": 0.5, "value_weight": 0.5, "beta": 0.3},
    ),
}
#: Two updates on the same answers: family, answers, and whether the policy has an adapter.
TWICE: dict[str, tuple[str, list[list[int]], bool]] = {
    "gpt2 twice": ("gpt2", WHOLE, False),
    "qwen2 twice": ("qwen2", WHOLE, False),
    "gpt2 of uneven length twice": ("gpt2", RAGGED, False),
    "qwen2 of uneven length twice": ("qwen2", RAGGED, False),
    "an adapter of uneven length twice": ("llama", RAGGED, True),
}
#: Of Adam: where a gradient is next to nothing, its direction is rounding, and its step would be as large as any.
LEARNING = {"learning_rate": 2e-3, "adam_epsilon": STEADY}
ADAPTER: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
#: TRL's name of a metric where it is not ours.
THEIRS = {"loss/policy": "loss/policy_avg", "loss/value": "loss/value_avg"}
SAME = (
    *("objective/kl", "objective/entropy", "objective/scores", "objective/non_score_reward", "objective/rlhf_reward"),
    *("policy/approxkl_avg", "policy/clipfrac_avg", "policy/entropy_avg", "val/clipfrac_avg", "val/ratio"),
    *("loss/policy", "loss/value"),
)


class Models(NamedTuple):
    policy: Any
    old: Any
    reference: Any
    critic: Any
    scorer: Any


class Theirs(NamedTuple):
    """advantages: before whitening, one row an answer in our order. gradients: by update, part and name."""

    metrics: dict[str, float]
    advantages: Tensor
    whitened: Tensor
    gradients: dict[str, Tensor]


def models_of(family: str) -> Models:
    policy, old = tiny_model(family), tiny_model(family)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(5)
        for parameter in old.parameters():  # near enough that some ratios are clipped and some are not
            parameter.add_(0.01 * torch.randn_like(parameter))
    reference, critic, scorer = tiny_model(family), tiny_reward_model(family), tiny_reward_model(family, seed=3)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(1.02)
    critic.config.value_offset = 0.0
    return Models(policy, old, reference, critic, scorer)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Theirs]:
    """What TRL makes of every case, in one process: importing it takes longer than all of them."""
    if not (ORACLE / "trl").is_dir():
        pytest.skip("TRL 1.12 is not installed beside the packages; `make test` does that")
    base = tmp_path_factory.mktemp("trl")
    asked = {name: (WHOLE, settings) for name, (settings, _) in CASES.items()}
    asked |= {f"ragged, lambda {lam}": (RAGGED, {"lam": lam}) for lam in (1.0, 0.5)}
    twice = {"num_ppo_epochs": 2, "lam": 1.0, **LEARNING}
    asked |= {name: (answers, twice) for name, (_, answers, _) in TWICE.items()}
    folders = {name: base / str(at) for at, name in enumerate(asked)}
    for name, (answers, settings) in asked.items():
        family, _, has_adapter = TWICE.get(name, ("llama", [], False))
        for part, model in models_of(family)._asdict().items():
            save_model(model, byte_tokenizer(), folders[name] / part)
        if has_adapter:
            adapter = {n: p.data for n, p in with_lora(tiny_model(family)).named_parameters() if p.requires_grad}
            save_file(adapter, str(folders[name] / "adapter.safetensors"))
        given = {"response_length": LENGTH, "temperature": TEMPERATURE, "num_ppo_epochs": 1, **settings}
        case = {"prompts": PROMPTS, "answers": answers, "settings": given, "adapter": ADAPTER if has_adapter else None}
        (folders[name] / "case.json").write_text(json.dumps(case), "utf-8")
    where = {**os.environ, "PYTHONPATH": str(ORACLE), "TRL_EXPERIMENTAL_SILENCE": "1", "OMP_NUM_THREADS": "1"}
    # -P: the script's own folder is not to be searched for modules.
    command = [sys.executable, "-P", str(SCRIPT), *map(str, folders.values())]
    done = subprocess.run(command, env=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: found_in(folder) for name, folder in folders.items()}


def found_in(folder: Path) -> Theirs:
    found = json.loads((folder / "found.json").read_text("utf-8"))
    places = torch.tensor(found["order"]).argsort()
    advantages, whitened = (torch.tensor(found[name])[places] for name in ("advantages", "whitened"))
    return Theirs(found["metrics"], advantages, whitened, load_file(str(folder / "gradients.safetensors")))


def preset_of(own: dict[str, Any]) -> PpoPreset:
    return PpoPreset.model_validate(
        {
            "method": "ppo",
            "model": {"path": "some/model"},
            "data": {"train": "rows.jsonl"},
            "training": {"batch_size": 8, "micro_batch_size": 8},
            "rollout": {"completions_per_prompt": 1, "max_new_tokens": LENGTH, "temperature": TEMPERATURE},
            "rewards": [{"kind": "length", "target": 1}],
            "ppo": {"epochs": 1, **own},
        }
    )


def lived_of(models: Models, critic: OwnCritic, bench: Any, answers: list[list[int]]) -> list[Lived]:
    """What our own rollout, reward, reference and critic would have made of the answers."""
    lived = []
    with torch.no_grad():
        for prompt, ids in zip(PROMPTS, answers, strict=True):
            logps = whole_logps(models.old, prompt, ids, TEMPERATURE).tolist()
            answer = Answer(ids, logps, "stop" if ids[-1] == END else "length", logps)
            one = Lived({}, prompt, answer, "", Reward(0.0, {}))
            rows = rows_of(bench, [one])
            score = float(RewardScorer(models.scorer)(rows).rewards)
            reference = whole_logps(models.reference, prompt, ids, TEMPERATURE).tolist()
            values = critic.values(rows, bench.bare_scorer.actor).tolist()
            lived.append(one._replace(reward=Reward(score, {}), reference_logps=reference, values=values))
    return lived


class Ours(NamedTuple):
    experience: list[Experience]
    loss: float
    metrics: dict[str, float]
    critic: OwnCritic


def ours_of(folder: Path, models: Models, answers: list[list[int]], own: dict[str, Any]) -> Ours:
    """Our method on the same answers, with the gradient of its loss taken."""
    preset, tokenizer = preset_of(own), byte_tokenizer()
    critic = OwnCritic(Policy(models.critic, tokenizer, has_adapter=False))
    bench = bench_of(
        Policy(models.policy, tokenizer, has_adapter=False), folder, train=[{"prompt": "x"}], critic=critic
    )
    experience = judged(lived_of(models, critic, bench, answers), preset.ppo, beta=preset.ppo.beta, moments=Moments())
    method, tally, loss = METHODS["ppo"](preset, bench), Tally(), 0.0
    tally.add(told(experience, beta=preset.ppo.beta))
    for batch in _update(preset, bench, experience, learns_policy=True, is_first=True).micro_batches:
        share, values = method.loss(batch)
        share.backward()
        loss += share.item()
        tally.add(values)
    return Ours(experience, loss, tally.means(bench.accelerator), critic)


@pytest.mark.parametrize("case", CASES)
def test_advantages_losses_gradients_and_metrics_are_trls(case: str, theirs: dict[str, Theirs], tmp_path: Path) -> None:
    own, told_by_trl, models = CASES[case][1], theirs[case].metrics, models_of("llama")
    ours = ours_of(tmp_path, models, WHOLE, own)
    found = torch.tensor([one.advantages for one in ours.experience])
    torch.testing.assert_close(found, theirs[case].whitened, rtol=1e-5, atol=1e-5)
    for name in SAME:
        assert ours.metrics[name] == pytest.approx(told_by_trl[THEIRS.get(name, name)], rel=1e-5, abs=1e-6), name
    weight = own.get("value_weight", 0.1)
    total = told_by_trl["loss/policy_avg"] + weight * told_by_trl["loss/value_avg"]
    assert ours.loss == pytest.approx(total, rel=1e-6, abs=1e-6)
    assert ours.metrics["policy/clipfrac_avg"] > 0
    assert ours.metrics["val/ratio"] != pytest.approx(1.0, abs=1e-3)
    for part, model in (("policy", models.policy), ("critic", models.critic)):
        compared = [(theirs[case].gradients[f"0.{part}.{name}"], p.grad) for name, p in model.named_parameters()]
        largest = max(float(wanted.abs().max()) for wanted, _ in compared)
        assert largest > 1e-4
        for wanted, mine in compared:
            torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-5 * largest)


def test_the_score_stands_on_the_last_token_and_with_lambda_1_it_is_the_same_where_trl_has_it_one_later(
    theirs: dict[str, Theirs], tmp_path: Path
) -> None:
    models = models_of("llama")
    ours = ours_of(tmp_path, models, RAGGED, {"lam": 1.0, "whiten_advantages": False})
    for one, row in zip(ours.experience, theirs["ragged, lambda 1.0"].advantages, strict=True):
        torch.testing.assert_close(torch.tensor(one.advantages), row[: len(one.advantages)], rtol=1e-5, atol=2e-5)


def test_below_lambda_1_the_score_of_a_short_answer_reaches_the_policy_in_full_and_with_trl_lambda_of_it(
    theirs: dict[str, Theirs], tmp_path: Path
) -> None:
    """Ours: r + score - V. TRL's, through the value V' of the state after the end: r + V' - V + lambda (score - V')."""
    models = models_of("llama")
    ours = ours_of(tmp_path, models, RAGGED, {"lam": 0.5, "whiten_advantages": False})
    differ = []
    for one, row in zip(ours.experience, theirs["ragged, lambda 0.5"].advantages, strict=True):
        prompt, ids = one.lived.prompt, one.lived.answer.ids
        last, mine = float(row[len(ids) - 1]), one.advantages[-1]
        if len(ids) == LENGTH:
            assert mine == pytest.approx(last, rel=1e-5, abs=1e-5)
            continue
        with torch.no_grad():
            after = float(models.critic(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, 0])
        assert last == pytest.approx(mine - 0.5 * (one.score - after), rel=1e-4, abs=1e-5)
        differ.append(abs(last - mine))
    assert max(differ) > 0.1


@pytest.mark.parametrize("case", TWICE)
def test_gradients_of_two_updates_on_the_same_answers_are_trls(
    case: str, theirs: dict[str, Theirs], tmp_path: Path
) -> None:
    """Of the critic only where all answers have one length: elsewhere TRL's learns the state after an end, too."""
    family, answers, has_adapter = TWICE[case]
    models, tokenizer = models_of(family), byte_tokenizer()
    model = with_lora(models.policy) if has_adapter else models.policy
    critic = OwnCritic(Policy(models.critic, tokenizer, has_adapter=False))
    preset, policy = preset_of({"epochs": 2, "lam": 1.0}), Policy(model, tokenizer, has_adapter=has_adapter)
    bench = bench_of(policy, tmp_path, train=[{"prompt": "x"}], critic=critic)
    lived = lived_of(models, critic, bench, answers)
    experience = judged(lived, preset.ppo, beta=preset.ppo.beta, moments=Moments())
    method = METHODS["ppo"](preset, bench)
    parts = {"policy": model, "critic": models.critic} if answers is WHOLE else {"policy": model}
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *models.critic.parameters()], lr=2e-3, eps=STEADY, weight_decay=0
    )
    for index in range(2):
        for batch in _update(preset, bench, experience, learns_policy=True, is_first=index == 0).micro_batches:
            method.loss(batch)[0].backward()
        for part, learner in parts.items():
            compared = [
                (p.grad, theirs[case].gradients[f"{index}.{part}.{name}"])
                for name, p in learner.named_parameters()
                if p.requires_grad
            ]
            largest = max(float(wanted.abs().max()) for _, wanted in compared)
            assert largest > 1e-4
            for mine, wanted in compared:
                torch.testing.assert_close(mine, wanted, rtol=2e-4, atol=2e-5 * largest)
        optimizer.step()
        optimizer.zero_grad()

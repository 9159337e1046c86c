"""Which answers of a step count, and how much: dynamic sampling, retired prompts, interruption, what is told."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract import events
from engine.contract.online_settings import Rollout
from engine.contract.preset import GrpoPreset, load_preset
from engine.data.batching import rows_of_step
from engine.data.byte_tokenizer import byte_tokenizer
from engine.data.sources import load_rows
from engine.methods.alarms import FAR_STEPS, SILENT_STEPS, Alarms
from engine.methods.answers import Sampled
from engine.methods.bench import Bench
from engine.methods.groups import Groups
from engine.methods.grpo import batches_of, grpo
from engine.methods.interruption import Interruption
from engine.methods.layout import Layout
from engine.methods.pairs import all_read_lines
from engine.methods.prompts import Prompts
from engine.models import Policy, load_policy
from engine.rewards import Answered, Reward
from engine.rollout.protocol import Answer
from engine.tally import Mean
from tests.engine import running
from tests.tiny import bench_of, random_ids, run_steps, tiny_policy

PRESETS = Path(__file__).parents[2] / "presets"
ROWS = [{"prompt": letter * (index + 1)} for index, letter in enumerate("abcdefgh")]
#: What an answer of the scripted sampler says, which is the reward it gets.
RIGHT, WRONG = 49, 48
#: One that nobody can say anything of.
UNKNOWN = 63


def preset_of(prompts: int = 2, answers: int = 2, **own: Any) -> GrpoPreset:
    return GrpoPreset.model_validate(
        {
            "method": "grpo",
            "model": {"path": "scratch"},
            "data": {"train": "rows.jsonl", "shuffle": False},
            "training": {"batch_size": prompts, "steps": 9},
            "rollout": {"completions_per_prompt": answers, "max_new_tokens": 4},
            "rewards": [{"kind": "exact_match"}],
            "grpo": {"beta": 0.0, **own},
        }
    )


def layout_of(preset: GrpoPreset, bench: Bench, in_lines: bool) -> Layout:
    return Layout(bench, preset.training.micro_batch_size, in_lines, preset.rollout.temperature)


def first_letter(prompt: list[int]) -> str:
    return str(byte_tokenizer().decode(prompt[:1]))


class Scripted:
    """A Rollout whose answers to a prompt are known by its first letter, and a reward that reads them."""

    def __init__(self, says: dict[str, list[list[int]]]) -> None:
        self.says = says
        self.asked: list[str] = []

    def answers(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], how: Rollout, *, greedy: bool = False
    ) -> list[list[Answer]]:
        letters = [first_letter(prompt) for prompt in prompts]
        self.asked += letters
        return [
            [self._answer(ids, how) for ids in itertools.islice(itertools.cycle(self.says[letter]), len(group))]
            for letter, group in zip(letters, seeds, strict=True)
        ]

    def score(self, answers: Sequence[Answered]) -> list[Reward]:
        worth = {RIGHT: 1.0, UNKNOWN: math.nan}
        return [Reward(worth.get(answered.ids[0], 0.0), {}) for answered in answers]

    @staticmethod
    def _answer(ids: list[int], how: Rollout) -> Answer:
        logps = [-1.0] * len(ids)
        return Answer(ids, logps, "length" if len(ids) >= how.max_new_tokens else "stop", logps)


MIXED, ALL_RIGHT, ALL_WRONG = [[RIGHT, 1], [WRONG, 50, 1]], [[RIGHT, 1]], [[WRONG, 1]]


def groups_of(preset: GrpoPreset, says: dict[str, list[list[int]]], folder: Path) -> tuple[Groups, Scripted]:
    scripted = Scripted(says)
    bench = replace(bench_of(tiny_policy(), folder, train=ROWS), rollout=scripted)
    prompts = Prompts(bench, answer=4, longest=64)
    return Groups(preset, bench, scripted, prompts, compared=None, interruption=None), scripted  # type: ignore[arg-type]


def number(value: Any) -> float:
    assert isinstance(value, Mean)
    return float(value.total) / float(value.weight)


def test_prompts_that_tell_nothing_apart_count_in_no_mean(tmp_path: Path) -> None:
    """Two of 2 + 3 tokens are learned from; the others would halve each token's share."""
    says = {"a": MIXED, "b": ALL_RIGHT}
    kept, values = groups_of(preset_of(leave_out_alike=True), says, tmp_path / "kept")[0].of_step(1)
    assert [first_letter(s.prompt) for s in kept] == ["a", "a"]
    assert [s.weight for s in kept] == pytest.approx([1 / 5, 1 / 5])
    assert number(values["frac_reward_zero_std"]) == 0.5
    assert number(values["reward"]) == 0.75
    assert number(values["dynamic_sampling/kept"]) == 0.5
    whole, _ = groups_of(preset_of(), says, tmp_path / "whole")[0].of_step(1)
    assert [s.weight for s in whole] == pytest.approx([1 / 9] * 4)


def test_an_answer_without_a_reward_is_in_no_mean_and_is_not_learned_from(tmp_path: Path) -> None:
    """Beside 1 and 0 it is as if it had not been written; alone with a 1 it leaves nothing to compare with."""
    says = {"a": [[RIGHT, 1], [UNKNOWN, 50, 51, 1], [WRONG, 1]], "b": [[RIGHT, 1], [UNKNOWN, 1], [UNKNOWN, 1]]}
    judged, values = groups_of(preset_of(answers=3, scale_advantages="none"), says, tmp_path)[0].of_step(1)
    assert [s.advantage for s in judged] == [0.5, 0.0, -0.5, 0.0, 0.0, 0.0]
    assert [s.weight for s in judged] == pytest.approx([1 / 6, 0.0, 1 / 6, 1 / 6, 0.0, 0.0])  # of 2 + 2 + 2 tokens
    assert number(values["reward"]) == pytest.approx(2 / 3)
    assert number(values["frac_reward_zero_std"]) == 0.5
    assert number(values["frac_reward_missing"]) == 0.5


def test_a_step_without_any_reward_teaches_nothing(tmp_path: Path) -> None:
    says = {letter: [[UNKNOWN, 1]] for letter in "ab"}
    judged, values = groups_of(preset_of(), says, tmp_path)[0].of_step(1)
    assert {(s.advantage, s.weight) for s in judged} == {(0.0, 0.0)}
    assert float(values["reward"].weight) == 0  # type: ignore[union-attr]


def test_other_prompts_are_asked_until_enough_tell_their_answers_apart(tmp_path: Path) -> None:
    says = dict.fromkeys("abcdefgh", MIXED) | {"a": ALL_WRONG, "b": ALL_RIGHT}
    groups, scripted = groups_of(preset_of(leave_out_alike=True, refill=5), says, tmp_path)
    kept, values = groups.of_step(1)
    assert scripted.asked[:2] == ["a", "b"]
    assert len(kept) == 4
    assert {first_letter(s.prompt) for s in kept}.isdisjoint("ab")
    assert number(values["dynamic_sampling/turns"]) == len(scripted.asked) / 2
    again, _ = groups_of(preset_of(leave_out_alike=True, refill=5), says, tmp_path / "again")[0].of_step(1)
    assert again == kept, "what is asked follows from seed and step alone"


def test_looking_for_such_prompts_ends(tmp_path: Path) -> None:
    groups, scripted = groups_of(
        preset_of(leave_out_alike=True, refill=3), dict.fromkeys("abcdefgh", ALL_WRONG), tmp_path
    )
    kept, values = groups.of_step(1)
    assert len(scripted.asked) == 2 * (1 + 3)
    assert number(values["dynamic_sampling/turns"]) == 4
    assert number(values["dynamic_sampling/kept"]) == 0
    assert {s.weight for s in kept} == {0.0}, "something has to stand in, and counts nothing"


def test_a_prompt_that_is_mastered_is_asked_no_more_also_after_a_resume(tmp_path: Path) -> None:
    says = dict.fromkeys("abcdefgh", MIXED) | {"a": ALL_RIGHT}
    preset = preset_of(prompts=8, retire_at=0.9)
    groups, scripted = groups_of(preset, says, tmp_path)
    _, values = groups.of_step(1)
    assert number(values["prompts/retired"]) == 1
    groups.of_step(2)
    assert scripted.asked[:8] == list("abcdefgh")
    assert "a" not in scripted.asked[8:]
    assert len(scripted.asked) == 16, "another takes its place"

    resumed, script = groups_of(preset, says, tmp_path)
    resumed.of_step(2)
    assert script.asked == scripted.asked[8:]
    before, script = groups_of(preset, says, tmp_path)
    before.of_step(1)
    assert script.asked == list("abcdefgh"), "a life that begins earlier knows nothing of it yet"


def test_when_every_prompt_is_mastered_the_run_goes_on(tmp_path: Path) -> None:
    groups, scripted = groups_of(preset_of(prompts=8, retire_at=0.9), dict.fromkeys("abcdefgh", ALL_RIGHT), tmp_path)
    groups.of_step(1)
    groups.of_step(2)
    assert len(scripted.asked) == 16


def test_nothing_is_learned_from_answers_that_were_cut_off_where_that_is_asked(tmp_path: Path) -> None:
    says = {"a": [[RIGHT, 1], [WRONG, 50, 51, 52]], "b": MIXED}
    kept, _ = groups_of(preset_of(leave_out_truncated=True), says, tmp_path)[0].of_step(1)
    assert [s.weight for s in kept] == pytest.approx([1 / 7, 0.0, 1 / 7, 1 / 7])


def test_the_order_of_groups_changes_no_advantage_and_no_weight(tmp_path: Path) -> None:
    says = {"a": MIXED, "b": [[WRONG, 50, 51, 1], [RIGHT, 1], [WRONG, 1]], "c": [[RIGHT, 60, 1], [WRONG, 1]]}
    groups, _ = groups_of(preset_of(prompts=3, answers=3, aggregation="prompt"), says, tmp_path)
    forwards, backwards = groups.of_rows([0, 1, 2]), groups.of_rows([2, 1, 0])
    assert [*forwards[6:], *forwards[3:6], *forwards[:3]] == backwards


# --------------------------------------------------------------------------------------------------- interruption


def test_an_answer_at_its_limit_is_brought_to_an_end_and_the_phrase_is_not_learned(tmp_path: Path) -> None:
    policy, prompts = tiny_policy(), [random_ids(3, seed=1), random_ids(5, seed=2)]
    bench = bench_of(policy, tmp_path)
    laid_out = layout_of(preset_of(), bench, in_lines=all_read_lines(bench))
    how, phrase = Rollout(max_new_tokens=3), [60, 61]
    seeds = [[1, 2, 3], [4, 5, 6]]
    interruption = Interruption(bench.rollout, how, phrase, most=2)
    first = bench.rollout.answers(prompts, seeds, how)
    ended, forced = interruption.ended(prompts, first, seeds)
    assert any(answer.finish == "length" for group in first for answer in group)
    for before, after, between, prompt in [
        (first[p][m], ended[p][m], forced[p][m], prompts[p]) for p in range(2) for m in range(3)
    ]:
        assert after.ids[: len(before.ids)] == before.ids
        if before.finish == "stop":
            assert (after, between) == (before, range(0))
            continue
        assert [after.ids[at] for at in between] == phrase
        assert 1 <= len(after.ids) - 5 <= 2
        s = Sampled({}, prompt, after, "", Reward(0.0, {}), advantage=1.0, weight=1.0, forced=between)
        assert s.whole(s.drawn(after.logps)) == after.logps, "what was put in was certain"
        [batch] = batches_of(laid_out, [s])
        assert batch.lengths.tolist() == [len(after.ids) - 2]
        scored = batch.rows.input_ids[batch.rows.is_target].tolist()
        assert scored == s.drawn(after.ids)
        logps = laid_out.score(bench.bare_scorer, batch.rows, batch.line)
        assert torch.allclose(logps, batch.sampler_logps, atol=1e-5), "the rest was drawn after reading it"


# ------------------------------------------------------------------------------------- shared prompts, and choices

#: One of each axis at a time, and all of ScaleRL.
CHOICES: dict[str, dict[str, Any]] = {
    "rloo": {"ratio": "answer", "baseline": "leave_one_out", "aggregation": "sequence", "scale_advantages": "none"},
    "gspo": {"ratio": "sequence", "aggregation": "sequence", "epsilon": 0.01, "iterations": 2},
    "kl in the reward": {"beta": 0.1, "kl_in": "reward", "kl": "k1", "baseline": "batch", "scale_advantages": "batch"},
    "scalerl": {
        **{"clip": "one_sided", "cap": 5.0, "aggregation": "prompt", "scale_advantages": "advantages"},
        **{"leave_out_alike": True, "refill": 1, "retire_at": 2.5, "interrupt_with": "\n", "interrupt_tokens": 2},
    },
}


@pytest.mark.usefixtures("fork_server")
@pytest.mark.parametrize("own", CHOICES.values(), ids=CHOICES)
def test_every_choice_learns_the_same_however_its_batch_is_cut(own: dict[str, Any], tmp_path: Path) -> None:
    runs = [
        running.done(
            tmp_path / f"by-{size}",
            running.grpo(training={"micro_batch_size": size, "steps": 3}, grpo={"beta": 0.0, **own}),
        )
        for size in (16, 5)
    ]
    first, second = (running.answers_of(run) for run in runs)
    assert [a.token_ids for a in first] == [a.token_ids for a in second]
    for name in ("reward", "entropy", "grad_norm", "completions/mean_length", "advantages/std"):
        assert running.values_of(runs[1], name) == pytest.approx(running.values_of(runs[0], name), rel=1e-4)
    assert running.values_of(runs[1], "loss") == pytest.approx(running.values_of(runs[0], "loss"), abs=1e-6)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_step_that_shares_its_prompts_is_the_dense_one(lora: bool, tmp_path: Path) -> None:
    """Loss and gradients of rows and of lines, with a reference, of groups that a micro-batch cuts in two."""
    preset = preset_of(answers=3, beta=0.1)
    preset = preset.model_copy(update={"training": preset.training.model_copy(update={"micro_batch_size": 4})})
    found = []
    for in_lines in (True, False):
        policy = tiny_policy(lora=lora)
        bench = bench_of(policy, tmp_path / str(in_lines), train=ROWS)
        assert bench.bare_scorer.reads_lines()  # type: ignore[operator]
        scripted = Scripted({"a": [[RIGHT, 9, 1], [WRONG, 8, 7, 1], [RIGHT, 1]], "b": [[WRONG, 1], [RIGHT, 5, 1]]})
        prompts = Prompts(bench, answer=4, longest=64)
        groups = Groups(
            preset,
            replace(bench, rollout=scripted),
            scripted,  # type: ignore[arg-type]
            prompts,
            compared=None,
            interruption=None,
        )
        laid_out = layout_of(preset, bench, in_lines)
        sampled, _ = groups.of_step(1)
        parts = batches_of(laid_out, laid_out.compared(sampled))
        assert [len(part.lengths) for part in parts] == [4, 2]
        assert all((part.line is not None) == in_lines for part in parts)
        method = grpo(preset, bench)
        shares = [method.loss(part)[0] for part in parts]
        total = torch.stack(shares).sum()
        total.backward()
        gradients = {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
        found.append((total.item(), gradients))
    (loss, gradients), (dense_loss, dense) = found
    assert loss == pytest.approx(dense_loss, rel=1e-6, abs=1e-7)
    assert gradients.keys() == dense.keys()
    largest = max(float(gradient.abs().max()) for gradient in dense.values())
    assert max(float((gradients[name] - dense[name]).abs().max()) for name in dense) < 2e-6 * largest


def test_a_prompt_that_is_asked_again_in_a_step_is_read_once_only_beside_itself(tmp_path: Path) -> None:
    preset = preset_of(prompts=3)
    groups, _ = groups_of(preset, {"a": MIXED, "b": MIXED}, tmp_path)
    [batch] = batches_of(layout_of(preset, groups.bench, in_lines=True), groups.of_rows([1, 0, 1]))
    assert batch.line is not None
    assert len(batch.line.first) == (2 + 1 + 2) + 3 * 5


#: Without those that are grpo_tiny but for its rewards, as this test has rewards of its own.
TINY = sorted(
    path
    for path in PRESETS.glob("*_tiny.yaml")
    if load_preset(path).method == "grpo" and path.stem != "grpo_own_reward_tiny"
)


@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_every_preset_of_the_family_lifts_a_reward_it_can_find_by_chance(path: Path, tmp_path: Path) -> None:
    """Answers that begin with a letter or a digit: a quarter of random bytes do."""
    overrides = ["training.steps=10", "rewards=[{kind: pattern, pattern: '[a-zA-Z0-9].*'}]"]
    overrides += ["optimizer.learning_rate=6e-3", "optimizer.schedule=constant", "rollout.recorded=0"]
    preset = load_preset(path, overrides)
    assert isinstance(preset, GrpoPreset)
    policy = load_policy(
        preset.model,
        device=torch.device("cpu"),
        dtype=torch.float32,
        seed=0,
        with_reference=preset.grpo.beta > 0,
        merged_base=tmp_path / "base",
    )
    table = load_rows(preset.data.train, "grpo", breathe=lambda: None)
    steps = run_steps(preset, policy, tmp_path / "run", table)
    assert steps[0].values["reward"] < 0.4
    assert steps[-1].values["reward"] > 0.7


# -------------------------------------------------------------------------------------------------------- alarms


def a_sample(bench: Bench, *, advantage: float = 0.0, far: float | None = None) -> Sampled:
    answer = Answer([5, 1], [-1.0, -1.0], "stop", [-1.0, -1.0])
    reference = () if far is None else (-1.0 + far, -1.0 + far)
    prompt = bench.encoder.prompt({"prompt": "hello"})
    return Sampled(
        {"prompt": "hello"}, prompt, answer, "", Reward(0.0, {}), advantage=advantage, weight=0.5, reference=reference
    )


def told_of(policy: Policy, folder: Path, make: Callable[[Bench, int], Sampled], steps: int) -> list[events.Notice]:
    bench = bench_of(policy, folder)
    alarms = Alarms(bench, pull="grpo.beta")
    for step in range(steps):
        sample = make(bench, step)
        alarms.look([sample], {"reward": Mean(0.25, 1)}, learns=bool(sample.advantage))
    file = folder / "events.jsonl"
    told = [events.read_event(line) for line in file.read_bytes().splitlines()] if file.exists() else []
    return [event for event in told if isinstance(event, events.Notice)]


def test_fifty_steps_without_signal_are_told_once_with_advice(tmp_path: Path) -> None:
    assert not told_of(tiny_policy(), tmp_path / "a", lambda bench, _: a_sample(bench), SILENT_STEPS - 1)
    [notice] = told_of(tiny_policy(), tmp_path / "b", lambda bench, _: a_sample(bench), 3 * SILENT_STEPS)
    assert "for 50 steps" in notice.what
    assert "mean reward 0.25" in notice.what
    assert "easier prompts" in notice.advice
    broken = told_of(
        tiny_policy(),
        tmp_path / "c",
        lambda bench, step: a_sample(bench, advantage=float(step == 30)),
        SILENT_STEPS + 20,
    )
    assert not broken


def test_a_policy_that_left_its_reference_behind_is_told(tmp_path: Path) -> None:
    [notice] = told_of(tiny_policy(), tmp_path, lambda bench, _: a_sample(bench, advantage=1, far=-9.0), FAR_STEPS + 2)
    assert "8 nats a token" in notice.what  # exp(-9) - 1 + 9
    assert "grpo.beta" in notice.advice
    near = told_of(tiny_policy(), tmp_path / "near", lambda bench, _: a_sample(bench, advantage=1, far=0.5), 9)
    assert not near


def test_a_model_without_an_end_token_is_told(tmp_path: Path) -> None:
    policy = tiny_policy()
    policy.tokenizer.eos_token = None
    policy.model.generation_config.eos_token_id = None  # type: ignore[union-attr]
    [notice] = told_of(policy, tmp_path, lambda bench, _: a_sample(bench, advantage=1), 2)
    assert "no end token" in notice.what


def test_rows_are_due_in_their_order_and_others_in_orders_of_their_own(tmp_path: Path) -> None:
    groups, _ = groups_of(preset_of(), {}, tmp_path)
    due = rows_of_step(3, batch_size=2, n_rows=8, seed=0, shuffle=False)
    assert groups._rows(3, 0) == due
    assert groups._rows(3, 1) != groups._rows(3, 2)

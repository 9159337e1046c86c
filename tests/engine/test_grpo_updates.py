"""Several updates on the answers of a step, a bonus for entropy, the pull token by token, and what is told of laws."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.contract.preset import GrpoPreset, check
from engine.logprobs import TokenScorer
from engine.methods.answers import Sampled
from engine.methods.grpo import GrpoBatch, _told_of_law, grpo
from engine.tally import Least, Mean, Peak
from tests.engine import running
from tests.engine.test_groups import ALL_RIGHT, MIXED, groups_of, number, preset_of
from tests.tiny import bench_of, tiny_policy

LETTERS = [{"prompt": letter * (at + 1)} for at, letter in enumerate("abcdefgh")]


def sampling(**own: Any) -> GrpoPreset:
    preset = running.grpo(
        optimizer={"learning_rate": 1e-2},
        training={"batch_size": 6},
        rollout={"temperature": 0.8},
        grpo={"beta": 0.0, **own},
    )
    assert isinstance(preset, GrpoPreset)
    return preset


def test_only_in_the_first_of_several_updates_is_the_ratio_1_so_that_later_ones_are_clipped(tmp_path: Path) -> None:
    policy = tiny_policy()
    method = grpo(sampling(minibatches=3), bench_of(policy, tmp_path, train=LETTERS))
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-2)
    moved, prompts = [], []
    for update in method.batches(1):
        [part] = update.micro_batches
        now = TokenScorer(policy.model)(part.rows, 0.8, line=part.line).logps.detach()
        moved.append(float((torch.exp(now - part.old_logps) - 1).abs().max()))
        prompts.append(len(part.lengths))
        assert float(part.weights.sum()) == pytest.approx(1.0), "a mean over the tokens of the update"
        assert part.tokens == len(part.weights)
        share, values = method.loss(part)
        share.backward()
        optimizer.step()
        optimizer.zero_grad()
        clipped = values["clip_ratio/region_mean"]
        assert isinstance(clipped, Mean)
        assert (float(clipped.total) > 0) == (moved[-1] > 0.2)
        assert isinstance(told := values["ratio/max_error"], Peak)
        assert float(told.value) < 1e-4, "of the policy that sampled, whatever was learned since"
    assert moved[0] < 1e-5
    assert min(moved[1:]) > 0.2
    assert prompts == [8, 8, 8]  # two prompts of four answers each


def test_every_pass_has_each_group_in_one_update_and_how_they_are_cut_is_another_matter_each_step(
    tmp_path: Path,
) -> None:
    groups, _ = groups_of(preset_of(5, minibatches=2), dict.fromkeys("abcdefgh", MIXED), tmp_path)
    cuts = []
    for step in (1, 2, 3):
        sampled, _ = groups.of_step(step)
        assert groups.updates == 2
        each = [[s.prompt for s in sampled if s.update == update] for update in (0, 1)]
        assert [len(part) for part in each] == [6, 4]
        assert sum(s.weight * len(s.answer.ids) for s in sampled) == pytest.approx(2.0)
        cuts.append(tuple(s.update for s in sampled))
    assert len(set(cuts)) > 1


def test_fewer_groups_than_updates_make_fewer_updates(tmp_path: Path) -> None:
    says = {**dict.fromkeys("abcdefgh", ALL_RIGHT), "b": MIXED}
    groups, _ = groups_of(preset_of(4, minibatches=4, leave_out_alike=True), says, tmp_path)
    sampled, _ = groups.of_step(1)
    assert (groups.updates, {s.update for s in sampled}) == (1, {0})


def test_the_pull_token_by_token_is_felt_from_each_token_on(tmp_path: Path) -> None:
    """Of the answers of `MIXED`, worth 1 and 0 and of 2 and 3 tokens, each token is 0.5 nats likelier than before."""
    preset = preset_of(1, kl_in="tokens", kl="k1", beta=0.1, baseline="none", scale_advantages="none")
    groups, _ = groups_of(preset, {"a": MIXED}, tmp_path)

    def compared(sampled: Sequence[Sampled]) -> list[Sampled]:
        return [s._replace(reference=[logp - 0.5 for logp in s.answer.logps]) for s in sampled]

    groups.compared = compared
    right, wrong = groups.of_step(1)[0]
    assert right.advantages == pytest.approx([1 - 0.1, 1 - 0.05])
    assert wrong.advantages == pytest.approx([-0.15, -0.1, -0.05])
    assert wrong.advantage == pytest.approx(-0.1)


def test_a_bonus_for_entropy_makes_the_policy_less_certain(tmp_path: Path) -> None:
    """Without any signal, the bonus alone moves it; its gradient is checked against TRL's in test_trl_grpo.py."""
    ends = []
    for coefficient in (0.0, 1.0):
        policy = tiny_policy()
        method = grpo(sampling(entropy_coefficient=coefficient), bench_of(policy, tmp_path, train=LETTERS))
        optimizer = torch.optim.AdamW(policy.model.parameters(), lr=3e-3)
        for step in range(1, 4):
            for update in method.batches(step):
                for part in update.micro_batches:
                    share, values = method.loss(part._replace(advantages=0 * part.advantages))
                    share.backward()
                optimizer.step()
                optimizer.zero_grad()
        ends.append(number(values["entropy"]))
    assert ends[1] > ends[0] + 0.1


def test_how_far_the_law_of_sampling_is_from_the_one_that_learns_is_told_under_trls_names() -> None:
    old, drawn = torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-0.5, -2.0, math.nan])
    nothing = torch.zeros(3)
    batch = GrpoBatch(None, None, nothing, nothing, nothing, 3.0, None, None, nothing, drawn)  # type: ignore[arg-type]
    weights = torch.tensor([math.exp(-0.5), 1.0, 1.0])
    told = _told_of_law(old, batch, weights)
    assert number(told["sampling/sampling_logp_difference/mean"]) == pytest.approx(0.5 / 3)
    assert number(told["sampling/importance_sampling_ratio/mean"]) == pytest.approx((math.exp(-0.5) + 2) / 3)
    least, most = (told[f"sampling/importance_sampling_ratio/{side}"] for side in ("min", "max"))
    assert isinstance(least, Least)
    assert isinstance(most, Peak)
    assert (float(least.value), float(most.value)) == pytest.approx((math.exp(-0.5), 1.0))
    assert _told_of_law(old, batch, None) == {}


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"minibatches": 9}, "cannot cut 8 prompts"),
        ({"kl_in": "tokens", "scale_advantages": "group"}, "has no spread of one prompt"),
    ],
)
def test_choices_that_cannot_be_are_faults(own: dict[str, Any], told: str) -> None:
    data = sampling().model_dump(mode="json")
    data |= {"grpo": own, "training": {"batch_size": 8}}
    assert [fault.problem for fault in check(data)[1] if told in fault.problem]

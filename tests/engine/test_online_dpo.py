"""DPO on the policy's own answers: which two are compared, ties, the fine for no end, and TRL's numbers."""

import copy
import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from engine.contract.composed_presets import OnlineDpoPreset
from engine.contract.composed_settings import OnlineDpo
from engine.contract.preset import check
from engine.data.byte_tokenizer import byte_tokenizer
from engine.methods.answers import Sampled
from engine.methods.layout import Layout
from engine.methods.online_dpo import Duel, duels_of, marked, online_dpo, parts_of
from engine.models import Policy
from engine.rewards import Reward
from engine.rollout.protocol import Answer
from engine.tally import Tally
from tests.engine.test_trl_parity import gradients, largest_relative_error
from tests.tiny import FAMILIES, bench_of, random_ids, tiny_model

#: Equally long prompts: TRL gives no positions, so GPT-2 would read left-padded ones from the wrong place.
PROMPTS = [random_ids(4, seed=at) for at in range(3)]
#: Two answers each; END stands where one ended by itself.
END = 1
ANSWERS = [[*random_ids(length - 1, seed=10 + length), END if length % 2 else 7] for length in (3, 6, 5, 2, 4, 7)]
WORTH = [1.0, 0.5, 0.2, 0.9, 0.7, 0.6]


def sampled_of(worth: list[float], answers: list[list[int]] = ANSWERS) -> list[Sampled]:
    return [
        Sampled(
            {},
            PROMPTS[at // 2],
            Answer(ids, [-1.0] * len(ids), "stop" if ids[-1] == END else "length", [-1.0] * len(ids)),
            "",
            Reward(worth[at], {}),
            0.0,
        )
        for at, ids in enumerate(answers)
    ]


def test_the_best_is_compared_with_the_worst_and_a_tie_with_nothing() -> None:
    found = duels_of(sampled_of([1, 0.5, 0.2, 0.2, -1, 3]), OnlineDpo(), 2)
    assert found == [Duel(0, 1, (1, 0.5)), Duel(5, 4, (3, -1))]
    assert duels_of(sampled_of([0, 2, 1, 5, 5, 5]), OnlineDpo(), 3) == [Duel(1, 0, (2, 0))]
    assert [s.advantage for s in marked(sampled_of(WORTH), found)] == [1, -1, 0, 0, -1, 1]


def test_an_answer_that_was_cut_off_pays_for_it_before_they_are_ranked() -> None:
    """Of 3, 6, 5, 2, 4 and 7 tokens, those of an even number have no end: 0 and 0.5 become a tie, 0.7 becomes less."""
    fined = duels_of(sampled_of([0.0, 0.5, 0.2, 0.9, 0.7, 0.6]), OnlineDpo(missing_eos_penalty=0.5), 2)
    assert [(duel.chosen, duel.rejected) for duel in fined] == [(3, 2), (5, 4)]


def test_a_reward_that_is_no_number_is_in_no_pair() -> None:
    assert duels_of(sampled_of([math.nan, 1, math.nan, math.nan, 2, 1]), OnlineDpo(), 2) == [Duel(4, 5, (2, 1))]


def preset_of(**own: Any) -> OnlineDpoPreset:
    return OnlineDpoPreset.model_validate(
        {
            "method": "online_dpo",
            "model": {"path": "scratch", "scratch": {}},
            "data": {"train": "rows.jsonl"},
            "rollout": {"completions_per_prompt": 2},
            "rewards": [{"kind": "verifier"}],
            "online_dpo": own,
        }
    )


def reference_of(family: str) -> Any:
    reference = tiny_model(family)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(1.02)
    return reference.requires_grad_(False)


class Ours:
    def __init__(self, folder: Path, family: str, own: dict[str, Any], *, size: int = 8, in_lines: bool = True) -> None:
        self.model = tiny_model(family)
        policy = Policy(self.model, byte_tokenizer(), has_adapter=False, reference=reference_of(family))
        bench = bench_of(policy, folder)
        sampled, preset = sampled_of(WORTH), preset_of(**own)
        method, tally = online_dpo(preset, bench), Tally()
        duels = duels_of(sampled, preset.online_dpo, 2)
        self.loss = 0.0
        for part in parts_of(Layout(bench, size, in_lines), sampled, duels):
            share, values = method.loss(part)
            share.backward()
            self.loss += float(share.detach())
            tally.add(values)
        self.told = tally.means(bench.accelerator)


def test_the_loss_is_the_same_however_the_pairs_are_cut(tmp_path: Path) -> None:
    whole, cut = (
        Ours(tmp_path / str(size), "llama", {}, size=size, in_lines=lines) for size, lines in ((8, True), (1, False))
    )
    assert cut.loss == pytest.approx(whole.loss, rel=1e-6)
    assert cut.told == pytest.approx(whole.told, rel=1e-5)
    assert largest_relative_error(gradients(cut.model), gradients(whole.model)) < 1e-5


def test_a_step_of_ties_alone_has_a_loss_and_a_gradient_of_zero(tmp_path: Path) -> None:
    policy = Policy(tiny_model(), byte_tokenizer(), has_adapter=False, reference=tiny_model())
    bench = bench_of(policy, tmp_path)
    [part] = parts_of(Layout(bench, 8, in_lines=True), sampled_of([1.0] * 6), [])
    share, values = online_dpo(preset_of(), bench).loss(part)
    share.backward()
    assert (float(share.detach()), values) == (0, {})
    assert all(not p.grad.any() for p in policy.model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("own", "rollout", "told"),
    [
        ({}, {"completions_per_prompt": 1}, "nothing to compare with"),
        ({"loss": "ipo", "label_smoothing": 0.1}, {"completions_per_prompt": 2}, "has no effect on ipo"),
    ],
)
def test_choices_that_make_no_pair_or_have_no_effect_are_faults(
    own: dict[str, Any], rollout: dict[str, Any], told: str
) -> None:
    data = preset_of().model_dump(mode="json") | {"online_dpo": own, "rollout": rollout}
    assert [fault.problem for fault in check(data)[1] if told in fault.problem]


# ------------------------------------------------------------------------------------------------------- the oracle


def trl_of(model: Any, reference: Any, folder: Path, **settings: Any) -> Any:
    from datasets import Dataset
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    def worth(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [WORTH[ANSWERS.index([t for t in ids if t != 0])] for ids in completion_ids]

    args = OnlineDPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        per_device_train_batch_size=3,
        disable_dropout=True,
        max_length=64,
        max_new_tokens=8,
        **settings,
    )
    tokenizer = byte_tokenizer()
    tokenizer.padding_side = "left"
    rows = Dataset.from_list([{"prompt": "a"}] * 3)
    return OnlineDPOTrainer(
        model, reference, cast("Any", worth), args=args, train_dataset=rows, processing_class=tokenizer
    )


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")  # TRL's own, of an experimental trainer; TRL is pinned
@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_gradients_and_metrics_are_trls(
    family: str, loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's ipo is ours of sums. It has all first answers, then all second ones; the fine turns a pair round."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    own = {"loss": {"sigmoid": "sigmoid", "ipo": "ipo_sum"}[loss], "beta": 0.3, "missing_eos_penalty": 0.8}
    model = copy.deepcopy(tiny_model(family))
    trainer = trl_of(model, reference_of(family), tmp_path / "trl", loss_type=loss, beta=0.3, missing_eos_penalty=0.8)
    width = max(map(len, ANSWERS))
    order = [0, 2, 4, 1, 3, 5]
    ids = torch.tensor([ANSWERS[at] + [0] * (width - len(ANSWERS[at])) for at in order])
    mask = torch.tensor([[1] * len(ANSWERS[at]) + [0] * (width - len(ANSWERS[at])) for at in order])
    prompts = torch.tensor([PROMPTS[at // 2] for at in order])
    given = (prompts, torch.ones_like(prompts), ids, mask, None)
    monkeypatch.setattr(trainer, "_generate", lambda *_: given)
    wanted = trainer.training_step(trainer.model, {"prompt": ["a"] * 3})
    ours = Ours(tmp_path / "ours", family, own)

    assert ours.loss == pytest.approx(float(wanted), rel=1e-5, abs=1e-6)
    assert largest_relative_error(gradients(ours.model), gradients(trainer.model)) < 1e-5
    told = {name: values[0] for name, values in trainer.stats.items() if values}
    for name in ours.told.keys() & told.keys():
        if not name.startswith("objective/"):  # TRL sums these over the padding, too
            assert ours.told[name] == pytest.approx(told[name], rel=1e-4, abs=1e-5), name
    assert {"logps/chosen", "logps/rejected", "rewards/margins", "rewards/accuracies"} < ours.told.keys() & told.keys()

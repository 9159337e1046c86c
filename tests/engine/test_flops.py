"""The arithmetic of a step: by hand for one forward, and for runs from the tokens that they read and wrote."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from engine.contract import events
from engine.contract.run_dir import RunDir
from engine.evaluation.run_curve import curve_of_run, spent
from engine.evaluation.scaling import ScalingError
from engine.flops import Meter, weights_of
from engine.models import load_policy
from tests.engine import running
from tests.tiny import tiny_model

IDS = torch.arange(10).view(2, 5)


def weights() -> int:
    """Of the tiny Llama's layers and its last norm, by shape."""
    config: Any = tiny_model().config
    width, inner = config.hidden_size, config.intermediate_size
    keys = width * config.num_key_value_heads // config.num_attention_heads
    layer = 2 * width * width + 2 * width * keys + 3 * width * inner + 2 * width
    return int(config.num_hidden_layers * layer + width)


def test_a_token_costs_two_for_each_weight_and_six_where_it_is_learned_from() -> None:
    model: Any = tiny_model()
    meter = Meter()
    meter.watch(model)
    meter.watch(model)  # once counts
    with torch.no_grad():
        model(input_ids=IDS)
    assert meter.spent == 2 * weights() * 10
    model(inputs_embeds=model.get_input_embeddings()(IDS))
    assert meter.spent == (2 + 6) * weights() * 10
    with meter.told():
        model(input_ids=IDS)
    meter.add(model, 3)
    assert meter.spent == (8 * 10 + 2 * 3) * weights()


def test_a_frozen_weight_costs_four_and_what_an_adapter_trains_six(tmp_path: Path) -> None:
    preset = running.sft(model={"adapter": running.LORA})
    policy: Any = load_policy(
        preset.model,
        device=torch.device("cpu"),
        dtype=torch.float32,
        seed=0,
        with_reference=False,
        merged_base=tmp_path,
    )
    count, trained = weights_of(policy.model.get_base_model().model)
    assert 0 < trained < count
    assert trained == sum(p.numel() for p in policy.model.parameters() if p.requires_grad)
    meter = Meter()
    meter.watch(policy.model)
    policy.model(input_ids=IDS)
    assert meter.spent == (4 * count + 2 * trained) * 10


def told_by(run: RunDir) -> list[float]:
    return [event.values["step_flops"] for event in running.of_kind(run, events.Step)]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Groups of four answers; the reference reads what the policy does, and held-out answers are no part of a step."""
    preset = running.grpo(
        training={"steps": 3, "eval_every": 1},
        data={"eval": {**running.SUMS, "seed": 2, "rows": 4}},
        rollout={"recorded": 16},
    )
    return running.done(tmp_path_factory.mktemp("flops") / "run", preset)


def test_a_step_of_grpo_writes_with_two_reads_the_reference_with_two_and_learns_with_six(learned: RunDir) -> None:
    weights_here, _ = weights_of(AutoModel.from_pretrained(learned.final))
    read = [0.0, *running.values_of(learned, "num_tokens")]
    for step, told in enumerate(told_by(learned), start=1):
        written = sum(len(answer.token_ids) for answer in running.answers_of(learned) if answer.step == step)
        # num_tokens has each prompt four times; sampler and line read it once for its group.
        prompts = (read[step] - read[step - 1] - written) / 4
        assert prompts > 0
        assert told == (2 + 2 + 6) * weights_here * (prompts + written)


def test_a_curve_can_be_set_against_it_and_adds_up(learned: RunDir) -> None:
    told = told_by(learned)
    points = spent(learned, metric="eval_reward", compute="step_flops")
    assert [point.compute for point in points] == pytest.approx([sum(told[:n]) for n in range(1, 4)])
    with pytest.raises(ScalingError, match="does not tell step_gallons of its steps"):
        curve_of_run(learned, metric="eval_reward", compute="step_gallons", early=0.0)

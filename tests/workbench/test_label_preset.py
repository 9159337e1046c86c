"""The preset that learns from judgements is one that the engine takes."""

from typing import Any

import pytest

from engine.contract.preset import read_draft, sources_of, training_of
from workbench.state.label_preset import Method, offered, preset_for


@pytest.mark.parametrize("method", [*offered(), *offered("image")])
@pytest.mark.parametrize("judged", [0, 7, 60, 10_000])
def test_it_is_a_preset_without_a_fault(method: Method, judged: int) -> None:
    draft = read_draft(preset_for("demo", method, judged))
    assert draft.faults == []
    assert draft.preset is not None
    assert draft.preset.method == method
    assert [source.path for source in sources_of(draft.preset, "train")] == ["labels:demo"]
    is_measured, preset = judged >= 50, draft.preset.model_dump()
    found: tuple[Any, bool] = preset["data"]["eval_share"], preset["training"]["eval_every"] > 0
    assert found == (0.1 * is_measured, is_measured)


@pytest.mark.parametrize("method", ["reward_model", "dpo", "kto", "diffusion_dpo"])
def test_what_learns_begins_from_the_model_that_was_judged(method: Method) -> None:
    preset = read_draft(preset_for("demo", method, 7, "runs/1: sums")).preset
    assert preset is not None
    assert preset.model_dump()["model"]["path"] == "runs/1: sums"


def test_more_judgements_are_learned_from_for_longer() -> None:
    def steps(judged: int) -> int:
        preset = read_draft(preset_for("demo", "dpo", judged)).preset
        training = None if preset is None else training_of(preset)
        assert training is not None
        return training.steps

    assert (steps(0), steps(60), steps(600)) == (10, 30, 300)

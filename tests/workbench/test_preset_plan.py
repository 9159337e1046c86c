"""What the bar under a preset says of it, before anything is loaded."""

from pathlib import Path

import pytest

from engine.contract.preset import load_preset
from engine.contract.settings import Scratch
from workbench.io.workspace import own_presets
from workbench.state.preset_plan import large, plan_of, scratch_parameters


# Counted in the models that the engine builds: two layers of width 64, with 258 tokens and a context of 128.
@pytest.mark.parametrize(("family", "weights"), [("gpt2", 124_800), ("llama", 164_416), ("qwen2", 164_800)])
def test_the_weights_of_a_model_from_scratch_are_those_the_engine_builds(family: str, weights: int) -> None:
    scratch = Scratch.model_validate({"family": family, "layers": 2, "width": 64, "heads": 4, "context": 128})
    assert scratch_parameters(scratch) == weights


def test_a_plan_says_work_model_data_and_what_is_kept() -> None:
    parts = plan_of(load_preset(own_presets() / "grpo_smollm2.yaml")).parts
    assert parts == [
        "100 steps of 4 prompts \N{MULTIPLICATION SIGN} 8 answers",
        "SmolLM2-135M-Instruct, LoRA rank 16",
        "chain_sum, 2,000 rows",
        "saves every 20 steps",
    ]


def test_a_plan_of_what_trains_nothing_says_how_much_it_draws() -> None:
    assert plan_of(load_preset(own_presets() / "diffusion_sample_digits.yaml")).parts == [
        "40 images, 20 steps of ddim each",
        "digits-denoiser, which ships",
    ]
    assert plan_of(load_preset(own_presets() / "diffusion_sample_grid.yaml")).parts[0] == "200 images"
    assert plan_of(load_preset(own_presets() / "sampler_proof.yaml")).parts


@pytest.mark.parametrize("path", sorted(own_presets().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_that_ships_has_a_plan(path: Path) -> None:
    assert all(plan_of(load_preset(path)).parts)


def test_large_counts_read_as_people_say_them() -> None:
    assert [large(n) for n in (999, 620_000, 135_000_000, 1_540_000_000)] == ["999", "620 k", "135 M", "1.54 B"]

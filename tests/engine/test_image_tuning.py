"""Methods that tune a model of images: the same loop, stop and go on bit for bit, folders that diffusers opens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel

from engine.contract import events
from engine.contract.preset import Preset, check
from engine.contract.run_dir import RunDir
from engine.diffusion import drift, paths
from engine.diffusion.networks import open_folder
from engine.methods import diffusion_grpo
from tests.engine import running

SHIPPED = Path(__file__).parents[2] / "assets" / "diffusion"
TRAINING = {"steps": 4, "batch_size": 3, "threads": 1, "checkpoint_every": 1, "eval_every": 2}
DRAWING = {
    "rollout": {"images_per_prompt": 4, "steps": 3, "batch": 8},
    "rewards": [{"kind": "ink"}, {"kind": "symmetry", "weight": 0.5}],
}
OWN: dict[str, dict[str, Any]] = {
    "diffusion_dpo": {
        "judged": {"rewards": [{"kind": "ink"}], "pairs": 9, "held_out": 6, "steps": 3},
        "diffusion_dpo": {"beta": 100.0, "draws": 2, "eval_draws": 2},
    },
    "diffusion_grpo": {**DRAWING, "diffusion_grpo": {"updates": 2, "epochs": 2, "average": 0.5}},
    "diffusion_nft": {**DRAWING, "diffusion_nft": {"draws": 2, "updates": 2, "anchor": 0.1, "old_rate": 0.1}},
    "draft": {**DRAWING, "draft": {"last_steps": 2, "anchor": 0.1}},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network that draws three classes of grey pictures."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        num_class_embeds=4,
    ).save_pretrained(folder / "unet")  # fmt: skip
    DDIMScheduler(clip_sample=False).save_pretrained(folder / "scheduler")
    return folder


def tuning(method: str, path: Path, **sections: Any) -> Preset:
    """A tiny run of a method, all of it in use; each section given is laid over the usual one."""
    data: dict[str, Any] = {
        "method": method,
        "model": {"path": str(path), "device": "cpu"},
        "optimizer": {"learning_rate": 1e-3},
        "training": TRAINING,
        "drift": {"every": 2, "images": 9, "steps": 3},
        **OWN[method],
    }
    for name, value in sections.items():
        data[name] = {**data.get(name, {}), **value} if isinstance(value, dict) else value
    preset, faults = check(data)
    assert preset is not None, faults
    return preset


@pytest.mark.parametrize("method", OWN)
def test_a_run_that_was_stopped_goes_on_to_the_very_weights_and_curve(method: str, model: Path, tmp_path: Path) -> None:
    preset = tuning(method, model)
    whole = running.done(tmp_path / "whole", preset)
    run = running.new_run(tmp_path / "run", preset)
    ask = '{"id": "1", "time": 0.0, "ask": "stop"}\n'
    stop_at_2 = lambda step: run.commands.write_text(ask) if step == 2 else None  # noqa: E731
    assert running.run_here_watched(run, stop_at_2) == running.STOPPED
    assert running.run_here(run, commands_from=len(ask)) == running.FINISHED
    assert running.curve(run) == running.curve(whole)
    running.assert_same_weights(run.final / "unet", whole.final / "unet")
    began = open_folder(str(model)).unet.state_dict()
    ended = UNet2DModel.from_pretrained(whole.final, subfolder="unet", use_safetensors=True).state_dict()
    assert any(not torch.equal(began[name], ended[name]) for name in began)


@pytest.mark.parametrize("method", ["diffusion_grpo", "diffusion_nft"])
def test_micro_batches_and_images_drawn_at_once_change_memory_and_not_the_curve(
    method: str, model: Path, tmp_path: Path
) -> None:
    whole = running.done(tmp_path / "whole", tuning(method, model, training={"steps": 2}))
    cut = tuning(method, model, training={"steps": 2, "micro_batch_size": 5}, rollout={"batch": 3})
    for name in ("loss", "reward", "grad_norm"):
        expected = running.values_of(whole, name)
        assert running.values_of(running_once(tmp_path, cut), name) == pytest.approx(expected, rel=1e-3)


def running_once(folder: Path, preset: Preset) -> RunDir:
    """The run of the preset in the folder, which is made once."""
    path = folder / "cut"
    return RunDir(path) if path.exists() else running.done(path, preset)


def test_an_adapter_learns_beside_its_reference_goes_on_and_is_merged_into_what_is_saved(
    model: Path, tmp_path: Path
) -> None:
    lora = {"adapter": {"rank": 2, "targets": "all"}}
    preset = tuning("diffusion_grpo", model, model=lora, diffusion_grpo={"average": 0.0})
    whole = running.done(tmp_path / "whole", preset)
    run = running.new_run(tmp_path / "run", preset)
    ask = '{"id": "1", "time": 0.0, "ask": "stop"}\n'
    running.run_here_watched(run, lambda step: run.commands.write_text(ask) if step == 2 else None)
    assert running.run_here(run, commands_from=len(ask)) == running.FINISHED
    assert running.curve(run) == running.curve(whole)
    running.assert_same_weights(run.final / "unet", whole.final / "unet")
    before, after = (running.weights(folder / "unet") for folder in (model, whole.final))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert running.values_of(whole, "path_kl")[-1] > 0  # the reference is where it began, with the adapter switched off


def test_a_policy_that_is_not_the_one_that_sampled_is_refused_before_it_learns(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(*arguments: Any, **more: Any) -> paths.Paths:
        drawn = paths.draw_paths(*arguments, **more)
        return drawn._replace(logps=drawn.logps + 0.01)

    monkeypatch.setattr(diffusion_grpo, "draw_paths", off)
    run = running.new_run(tmp_path / "run", tuning("diffusion_grpo", model))
    assert running.run_here(run) == running.FAILED
    assert "are 0.01 nats away from those they were drawn with" in running.last_word(run).message
    assert running.steps_of(run) == []


@pytest.mark.parametrize("on_hack", ["notice", "stop"])
def test_a_reward_that_is_hacked_is_told_and_ends_the_run_if_that_was_wished(
    on_hack: str, model: Path, tmp_path: Path
) -> None:
    # Ink alone, followed down its own slope with nothing that holds: all white in a few steps.
    preset = tuning(
        "draft",
        model,
        training={"steps": 9, "checkpoint_every": 0},
        optimizer={"learning_rate": 1e-2, "schedule": "constant"},
        rewards=[{"kind": "ink"}],
        # What a random network draws lies far apart anyway.
        drift={"every": 1, "images": 24, "patience": 2, "distance": 1.2, "on_hack": on_hack},
        draft={"anchor": 0.0},
    )
    run = running.new_run(tmp_path / "run", preset)
    code = running.run_here(run)
    assert running.notices(run).count("this looks like reward hacking: the reward rose from") == 1
    assert code == (running.STOPPED if on_hack == "stop" else running.FINISHED)
    assert (len(running.steps_of(run)) < 9) == (on_hack == "stop")


@pytest.mark.parametrize("second", ["digits-judge", "digits-classifier"])
def test_the_share_of_the_wanted_class_is_told_by_a_second_scorer_and_warned_of_by_the_first(
    second: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = torch.nn.functional.one_hot(torch.tensor([7, 7, 7, 7, 0, 1, 2, 3, 4]), 10) * 9.0
    monkeypatch.setattr(drift, "class_logits", lambda scorer, images: seen)
    preset = tuning(
        "diffusion_nft",
        model,
        training={"steps": 1, "checkpoint_every": 0},
        rewards=[{"kind": "classifier", "path": str(SHIPPED / "digits-classifier"), "label": 7}],
        drift={"classifier": str(SHIPPED / second)},
    )
    run = running.done(tmp_path / "run", preset)
    *_, told = running.of_kind(run, events.Evaluation)
    assert told.values["drift/wanted"] == pytest.approx(4 / 9)
    (looked,) = running.of_kind(run, events.Preflight)
    is_warned = "drift.classifier" in [finding.key for finding in looked.report.findings]
    assert is_warned == (second == "digits-classifier")

"""A run's model for use elsewhere: in full, its adapter alone, or the adapter merged into its base."""

import glob
import json
import shutil
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from engine.adapters import merged
from engine.checkpoint import MANIFEST, TRAINING, is_whole, newest_whole, put_in_place, save_model
from engine.contract import settings
from engine.contract.image_presets import ImagePreset
from engine.contract.preset import load_preset, training_of
from engine.contract.run_dir import RunDir
from engine.image_card import image_card
from engine.model_card import model_card
from engine.models import ModelError, adapter_on_its_base, gives_scores, model_of_run
from engine.reward_models import reward_adapter

Form = Literal["full", "adapter", "merged"]


def export_run(run: RunDir, dest: Path, *, form: Form, dtype: str, step: int | None, trust_remote_code: bool) -> int:
    """Write the model to `dest`, whole or not at all, in place of what is there. Returns the step it is from.

    step: of a checkpoint; None means the newest model. dtype: auto keeps what the run saved, which is what it trained.
    Raises ModelError, OSError.
    """
    source, at = _chosen(run, step)
    staging = dest.with_name(f".tmp-{dest.name}")
    _clear_leftovers(dest, staging)
    try:
        staging.mkdir(parents=True)
        if form == "merged":
            _merge(source, staging, trust_remote_code=trust_remote_code)
        else:
            _copy(source, staging)
        if dtype != "auto":
            _cast(staging, getattr(torch, dtype))
        preset = load_preset(run.preset)
        if isinstance(preset, ImagePreset):
            card = image_card(run, preset, staging, step=at)
        else:
            card = model_card(run, preset, is_adapter=form == "adapter", step=at)
        (staging / "README.md").write_text(card, "utf-8")
        put_in_place(staging, dest)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return at


def _clear_leftovers(dest: Path, staging: Path) -> None:
    """Delete what an export to `dest` that was killed had begun to write, or to delete."""
    for left in [staging, *dest.parent.glob(f".del-{glob.escape(dest.name)}-*")]:
        shutil.rmtree(left, ignore_errors=True)


def _chosen(run: RunDir, step: int | None) -> tuple[Path, int]:
    """The folder to export, and its step."""
    folder = model_of_run(run) if step is None else run.checkpoint(step)
    if not is_whole(folder):
        raise ModelError(f"{folder} is damaged or incomplete; name another step with --step")
    if folder != run.final:
        return folder, int(folder.name.partition("-")[2])
    newest = newest_whole(run)  # a run ends with a checkpoint of its last step
    training = training_of(load_preset(run.preset))
    last = 0 if training is None else training.steps
    return folder, last if newest is None else int(newest.name.partition("-")[2])


def _copy(source: Path, staging: Path) -> None:
    own = shutil.ignore_patterns(TRAINING, MANIFEST, "README.md")
    shutil.copytree(source, staging, ignore=own, dirs_exist_ok=True)


def _merge(source: Path, staging: Path, *, trust_remote_code: bool) -> None:
    """In float32: added up in 16 bits, small changes of large weights would be lost."""
    preset = settings.Model(path=str(source), trust_remote_code=trust_remote_code)
    opened = reward_adapter if gives_scores(str(source)) else adapter_on_its_base
    model, tokenizer = opened(source, preset, torch.float32)
    save_model(merged(model, str(source)), tokenizer, staging)


def _cast(folder: Path, dtype: torch.dtype) -> None:
    """Every floating tensor in the folder as `dtype`, and the configuration says so."""
    for file in folder.rglob("*.safetensors"):
        with safe_open(str(file), framework="pt") as opened:
            about = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
        cast = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
        save_file(cast, str(file), metadata=about)
    config = folder / "config.json"
    if config.is_file():
        told = json.loads(config.read_text("utf-8")) | {"dtype": str(dtype).removeprefix("torch.")}
        told.pop("torch_dtype", None)
        config.write_text(json.dumps(told, indent=2), "utf-8")

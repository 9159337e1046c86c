"""Checkpoints: weights, optimiser, step and random state, whole or not there at all.

A checkpoint is made under a temporary name, every file is synced, a manifest of sizes and hashes goes in last, and one
rename puts it in place. A reader checks the manifest, newest first, so a damaged one is passed over, never half used.
Nothing here is a pickle: tensors are safetensors, the rest is JSON.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine import random_state
from engine.contract.run_dir import RunDir

TRAINING = "training"
MANIFEST = "manifest.json"
#: How libraries written in Rust tell what the system refused.
RUST_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def save(
    run: RunDir,
    step: int,
    *,
    model: nn.Module,
    tokenizer: Any,
    training: dict[str, Any],
    beside: Callable[[Path], None] = lambda folder: None,
) -> Path:
    """Write the checkpoint of `step` and return where it is. training: what `training_state` gave.

    beside: puts into the folder what belongs to it besides. Raises OSError as `save_with`.
    """

    def write(folder: Path) -> None:
        save_model(model, tokenizer, folder)
        beside(folder)

    return save_with(run, step, write, training=training)


def save_with(run: RunDir, step: int, write: Callable[[Path], None], *, training: dict[str, Any]) -> Path:
    """As `save`, where `write` puts the model into the folder.

    Raises OSError, for one when the disk is full; then nothing of it stays.
    """
    final = run.checkpoint(step)
    staging = run.checkpoints / f".tmp-{final.name}-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        with _os_errors():
            write(staging)
        (staging / TRAINING).mkdir()
        with _os_errors():
            save_file(training["tensors"], str(staging / TRAINING / "state.safetensors"))
        (staging / TRAINING / "state.json").write_text(json.dumps(training["numbers"]), "utf-8")
        put_in_place(staging, final)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return final


def save_model(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """The model, or only its adapter, in the form that `from_pretrained` of transformers and peft opens.

    Raises OSError, for one when the disk is full.
    """
    with _os_errors():
        model.save_pretrained(str(folder))  # type: ignore[operator]
        tokenizer.save_pretrained(str(folder))
        if hasattr(model, "peft_config") and model.config.num_labels == 1:  # type: ignore[union-attr]
            # A reward model: peft does not say how many numbers its head gives, nor how they spread.
            model.config.save_pretrained(str(folder))  # type: ignore[operator, union-attr]


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """What the system refused, raised as OSError: safetensors and tokenizers raise errors of their own for it."""
    try:
        yield
    except Exception as error:
        number = RUST_OS_ERROR.search(str(error))
        if number is None or isinstance(error, OSError):
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def clear_leftovers(run: RunDir) -> None:
    """Delete what a killed life was writing or deleting; for the engine at its start, while nothing is in use."""
    for left in [*run.checkpoints.glob(".tmp-*"), *run.checkpoints.glob(".del-*")]:
        shutil.rmtree(left, ignore_errors=True)


def keep_newest(run: RunDir, count: int, *, best: int = 0) -> None:
    """Delete older checkpoints, but never the last one that is whole, nor that of step `best`."""
    steps = [step for step in run.saved_steps() if step != best]
    kept = [step for step in reversed(steps) if is_whole(run.checkpoint(step), deep=False)][:count]
    for step in steps:
        if kept and step not in kept and step < kept[0]:
            _remove(run.checkpoint(step))


def newest_whole(run: RunDir) -> Path | None:
    """The newest checkpoint whose every file is as it was written, or None."""
    return next((p for s in reversed(run.saved_steps()) if is_whole(p := run.checkpoint(s))), None)


def is_whole(checkpoint: Path, *, deep: bool = True) -> bool:
    """Whether each file has the size, and if `deep` the hash, that the manifest says."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text("utf-8"))["files"]
        for name, expected in files.items():
            file = checkpoint / name
            if file.stat().st_size != expected["size"] or (deep and _sha256(file) != expected["sha256"]):
                return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(files)


def training_state(
    step: int, optimizer: torch.optim.Optimizer, *, random: Sequence[random_state.State] = (), **numbers: Any
) -> dict[str, Any]:
    """Everything besides the weights that the next step depends on. The order of the data follows from the step.

    random: of each process in its order; without it, of this one.
    """
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, float] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.dim() > 0:
                tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().contiguous()
            else:
                scalars[f"{index}.{name}"] = float(value)
    for rank, state in enumerate(random or [random_state.own()]):
        tensors |= {f"random.{rank}.{name}": tensor for name, tensor in state.items()}
    return {"tensors": tensors, "numbers": {"step": step, "optimizer": scalars, **numbers}}


def training_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """All tensors that were saved besides the model."""
    return load_file(str(checkpoint / TRAINING / "state.safetensors"))


def restore_training(checkpoint: Path, optimizer: torch.optim.Optimizer, *, rank: int = 0) -> dict[str, Any]:
    """Put optimiser and random state back as they were; returns the numbers that were saved with them.

    A process that was not there when the checkpoint was made keeps the random state it has.
    """
    tensors = training_tensors(checkpoint)
    numbers: dict[str, Any] = json.loads((checkpoint / TRAINING / "state.json").read_text("utf-8"))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in numbers["optimizer"].items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = torch.tensor(value)
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    prefix = f"random.{rank}."
    mine = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if mine:
        random_state.restore(mine)
    return numbers


def restore_model(checkpoint: Path, model: nn.Module, *, has_adapter: bool) -> None:
    """Put the saved weights into a model that was just built the way it was at the start."""
    if has_adapter:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, load_file(str(checkpoint / "adapter_model.safetensors")))
        return
    index = checkpoint / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file():
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    weights = {key: tensor for name in sorted(names) for key, tensor in load_file(str(checkpoint / name)).items()}
    # Tied weights are saved once, under one of their names.
    missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", None) or getattr(model, "_tied_weights_keys", None) or ())
    if unexpected or set(missing) - tied:
        raise ValueError(f"{checkpoint.name}: does not fit the model (missing {missing}, unknown {unexpected})")


def put_in_place(staging: Path, final: Path) -> None:
    """Seal a folder with its manifest and give it its name, in place of what had it before."""
    _seal(staging)
    if final.exists():
        _remove(final)
    staging.rename(final)
    _sync_folder(final.parent)


def _seal(folder: Path) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    entries = {f.relative_to(folder).as_posix(): {"size": f.stat().st_size, "sha256": _sha256(f)} for f in files}
    (folder / MANIFEST).write_text(json.dumps({"files": entries}, indent=1), "utf-8")
    for file in [*files, folder / MANIFEST]:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    for inner in [*(entry for entry in folder.rglob("*") if entry.is_dir()), folder]:
        _sync_folder(inner)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # a folder cannot be opened for syncing there; NTFS journals the rename
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Out of sight first, so that a kill in the middle leaves no half checkpoint under a real name."""
    doomed = folder.with_name(f".del-{folder.name}-{os.getpid()}")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)

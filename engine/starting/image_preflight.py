"""What would go wrong with a run of an image method, found in a moment and before anything is written.

As `preflight.py` does it for text: without torch or diffusers, and every fault names the key, the value and the remedy.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.contract import image_settings, settings
from engine.contract.faults import Fault, Key
from engine.contract.preset import Draft
from engine.contract.run_dir import RunDir, is_run_dir
from engine.starting import estimates
from engine.starting.preflight import LEAST_FREE, Counted, Survey, device_faults, disk_faults, section_of
from engine.starting.resolution import Places, changed, resolve_image_model, resolve_source

#: Files of weights without the configuration of the network.
SINGLE_FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")


def survey(draft: Draft, where: Places, target: Path) -> Survey:
    """Look at all that a preset names, also one with faulty settings, as far as those can be read."""
    faults: list[Fault] = []
    sections: dict[str, Any] = {}
    model = section_of(draft.data.get("model"), image_settings.ImageModel)
    if model is not None:
        sections["model"] = model = _model(model, where, faults)
    data = section_of(draft.data.get("data"), image_settings.ImageData)
    train: list[Counted] = []
    held_out: list[Counted] = []
    if data is not None:
        train = [Counted(_source(source, "train", where, faults), None) for source in data.train]
        held_out = [Counted(_source(source, "eval", where, faults), None) for source in data.eval or []]
        sections["data"] = changed(data, train=[c.source for c in train], eval=[c.source for c in held_out] or None)
    training = section_of(draft.data.get("training", {}), settings.Training)
    size = _weight_bytes(model)
    writes = LEAST_FREE + (0 if training is None else (training.keep_checkpoints + 1) * 4 * size)
    faults += disk_faults(target, writes)
    parameters = size // estimates.FLOAT32 or None
    return Survey(faults, train, held_out, parameters, writes, sections)


def _model(model: image_settings.ImageModel, where: Places, faults: list[Fault]) -> image_settings.ImageModel:
    faults += device_faults(settings.Model(path=model.path, device=model.device))
    found = resolve_image_model(model, where)
    if isinstance(found, Fault):
        faults.append(found)
        return model
    faults += [Fault(("model", "path"), model.path, *told) for told in _problems(Path(found.path))]
    return found


def _problems(path: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with a model on this machine, and what to do; nothing for the hub's and for scratch."""
    if not path.is_absolute():
        return
    if path.is_file():
        how = "name the folder that it came from, with its model_index.json"
        is_weights = path.suffix.lower() in SINGLE_FILES
        yield ("holds weights without their configuration" if is_weights else "is no folder of a model"), how
    elif is_run_dir(path):
        run = RunDir(path)
        if not run.final.is_dir() and not run.saved_steps():
            yield "is a run without a model", "let it save a checkpoint first, or name another run"
    elif not any(path.rglob("config.json")):
        yield "is no model folder: it has no config.json", "name a folder that `save_pretrained` of diffusers wrote"
    elif not any(path.rglob("*.safetensors")):
        remedy = "convert them to safetensors where you trust them; pickles run code when they are read"
        yield "has no weights as safetensors", remedy


def _source(
    source: image_settings.ImageSource, which: str, where: Places, faults: list[Fault]
) -> image_settings.ImageSource:
    key: Key = ("data", which)
    found = resolve_source(source, where)
    if isinstance(found, Fault):
        faults.append(replace(found, key=key))
        return source
    path = Path(found.path)
    if path.is_dir() and not any(path.iterdir()):
        faults.append(Fault(key, source.path, "is an empty folder", "put images into it, or name another"))
    return found


def _weight_bytes(model: image_settings.ImageModel | None) -> int:
    """Of the weights that the model has on this machine; 0 where nobody knows."""
    if model is None or not Path(model.path).is_absolute() or not Path(model.path).is_dir():
        return 0
    path = Path(model.path)
    folder = RunDir(path).final if is_run_dir(path) else path
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))

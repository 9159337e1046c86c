"""What would go wrong with a run of an image method, found in a moment and before anything is written.

As `preflight.py` does it for text: without torch or diffusers, and every fault names the key, the value and the remedy.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from engine.contract import image_settings, settings
from engine.contract.drawing_settings import DiffusionSample
from engine.contract.faults import Fault, Key
from engine.contract.image_presets import IMAGE_PRESETS, DiffusionSamplePreset
from engine.contract.image_settings import AnyImageModel
from engine.contract.labels_use import SCHEME
from engine.contract.preset import Draft
from engine.contract.run_dir import RunDir, is_run_dir
from engine.labelling.frozen import LabelsError, learned
from engine.starting import estimates, tuning_preflight
from engine.starting.preflight import LEAST_FREE, Counted, Survey, device_faults, disk_faults, section_of
from engine.starting.resolution import Places, changed, resolve_image_model, resolve_named, resolve_source

#: Files of weights without the configuration of the network.
SINGLE_FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")


def survey(draft: Draft, where: Places, target: Path) -> Survey:
    """Look at all that a preset names, also one with faulty settings, as far as those can be read."""
    faults: list[Fault] = []
    sections: dict[str, Any] = {}
    model = _model_section(draft)
    if model is not None:
        sections["model"] = model = _model(model, where, faults)
    data = section_of(draft.data.get("data"), image_settings.ImageData)
    train: list[Counted] = []
    held_out: list[Counted] = []
    if data is not None:
        method = str(draft.data.get("method"))
        train = [_counted(source, "train", where, faults, method) for source in data.train]
        held_out = [_counted(source, "eval", where, faults, method) for source in data.eval or []]
        sections["data"] = changed(data, train=[c.source for c in train], eval=[c.source for c in held_out] or None)
    sections |= _judges(draft, where, faults)
    drawing = section_of(draft.data.get("diffusion_sample"), DiffusionSample)
    if drawing is not None:
        sections["diffusion_sample"] = _drawing(drawing, where, faults)
    if isinstance(draft.preset, DiffusionSamplePreset):
        faults += _unasked(draft.preset.diffusion_sample, model)
    sections |= tuning_preflight.sections(draft, sections, where, faults)
    size = _weight_bytes(model)
    writes = LEAST_FREE + _kept(draft) * 4 * size
    faults += disk_faults(target, writes)
    parameters = size // estimates.FLOAT32 or None
    return Survey(faults, train, held_out, parameters, writes, sections)


def _kept(draft: Draft) -> int:
    """How many checkpoints lie on the disk at once; none of a method that trains nothing."""
    if "training" not in IMAGE_PRESETS[str(draft.data["method"])].model_fields:
        return 0
    training = section_of(draft.data.get("training", {}), settings.Training)
    return 0 if training is None else training.keep_checkpoints + 1


def _model_section(draft: Draft) -> AnyImageModel | None:
    """The section `model`, as the method has it."""
    field = IMAGE_PRESETS[str(draft.data["method"])].model_fields.get("model")
    named = () if field is None else (field.annotation, *get_args(field.annotation))
    kinds: list[type[AnyImageModel]] = [kind for kind in get_args(AnyImageModel) if kind in named]
    read = (section_of(draft.data.get("model"), kind) for kind in kinds)
    return next((found for found in read if found is not None), None)


def _judges(draft: Draft, where: Places, faults: list[Fault]) -> dict[str, Any]:
    """Sections that name a classifier, with its absolute path."""
    found: dict[str, Any] = {}
    for name in type(draft.preset).model_fields if draft.preset is not None else ():
        section = getattr(draft.preset, name)
        given = getattr(section, "classifier", None)
        if given is None:
            continue
        key: Key = (name, "classifier")
        place = resolve_named(given, where, key)
        if isinstance(place, Fault):
            faults.append(replace(place, key=key))
        else:
            faults += [Fault(key, given, *told) for told in _problems(Path(place))]
            found[name] = changed(section, classifier=place)
    return found


def _model(model: AnyImageModel, where: Places, faults: list[Fault]) -> AnyImageModel:
    faults += device_faults(settings.Model(path=model.path, device=model.device))
    found = resolve_image_model(model, where)
    if isinstance(found, Fault):
        faults.append(found)
        return model
    how: dict[str, Any] = {}
    if isinstance(found, image_settings.ImageModel):
        how = {"config": found.config, "pickles": found.pickles}
    faults += [Fault(("model", "path"), model.path, *told) for told in _problems(Path(found.path), **how)]
    return found


def _drawing(drawing: DiffusionSample, where: Places, faults: list[Fault]) -> DiffusionSample:
    """The section with the models of its grid found."""
    grid = list(drawing.grid)
    for place, axis in enumerate(grid):
        if axis.vary == "model":
            key: Key = ("diffusion_sample", "grid", place, "values")
            found = [resolve_named(str(value), where, key) for value in axis.values]
            faults += [fault for fault in found if isinstance(fault, Fault)]
            paths = [
                str(given) if isinstance(path, Fault) else path for given, path in zip(axis.values, found, strict=True)
            ]
            grid[place] = changed(axis, values=paths)
    return changed(drawing, grid=grid)


def _unasked(drawing: DiffusionSample, model: AnyImageModel | None) -> list[Fault]:
    """A model that is asked in words, and no word; where a grid has several models or prompts, they are looked at
    when they are drawn with."""
    is_open = any(axis.vary in ("model", "prompt") for axis in drawing.grid)
    if model is None or is_open or drawing.prompts:
        return []
    is_worded = tuning_preflight.pipeline_of(Path(model.path)).startswith(tuning_preflight.ASKED_IN_WORDS)
    return tuning_preflight.of_captions([], ("diffusion_sample", "prompts")) if is_worded else []


def _problems(path: Path, *, config: str | None = None, pickles: bool = False) -> Iterator[tuple[str, str]]:
    """What is wrong with a model on this machine, and what to do; nothing for the hub's and for scratch."""
    if not path.is_absolute():
        return
    if path.is_file():
        yield from _file_problems(path, config, pickles=pickles)
    elif is_run_dir(path):
        run = RunDir(path)
        if not run.final.is_dir() and not run.saved_steps():
            yield "is a run without a model", "let it save a checkpoint first, or name another run"
    elif not any(path.rglob("config.json")):
        yield "is no model folder: it has no config.json", "name a folder that `save_pretrained` of diffusers wrote"
    elif not any(path.rglob("*.safetensors")) and not pickles:
        remedy = "convert them to safetensors where you trust them; pickles run code when they are read"
        yield "has no weights as safetensors", remedy


def _file_problems(path: Path, config: str | None, *, pickles: bool) -> Iterator[tuple[str, str]]:
    if path.suffix.lower() not in SINGLE_FILES:
        yield "is no folder of a model", "name the folder that has its model_index.json"
    elif path.suffix.lower() != ".safetensors" and not pickles:
        remedy = "get it as safetensors; or, only if you trust where it is from, set model.pickles to true"
        yield "has its weights as pickles, which can run any code of whoever made them", remedy
    elif config is None:
        remedy = (
            "set model.config to a diffusers folder of a model of the same kind; nothing is fetched for a single file"
        )
        yield "holds weights without their configuration", remedy


def _counted(
    source: image_settings.ImageSource, which: str, where: Places, faults: list[Fault], method: str
) -> Counted:
    """The source, and of judgements how many pairs of pictures they are; nobody counts the images of others."""
    if not source.path.startswith(SCHEME):
        return Counted(_source(source, which, where, faults), None)
    try:
        found = learned(source, where.labels, method)
    except LabelsError as error:
        faults.append(Fault(("data", which), source.path, error.problem, error.remedy))
        return Counted(source, None)
    return Counted(source, len(found.rows), left_out=f"judgements: {told}" if (told := found.told()) else "")


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


def _weight_bytes(model: AnyImageModel | None) -> int:
    """Of the weights that the model has on this machine; 0 where nobody knows."""
    if model is None or not Path(model.path).is_absolute() or not Path(model.path).is_dir():
        return 0
    path = Path(model.path)
    folder = RunDir(path).final if is_run_dir(path) else path
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))

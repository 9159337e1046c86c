"""What presets that tune name beside model and data: classifiers and images, found before the start."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.contract import tuning_settings
from engine.contract.faults import Fault, Key
from engine.contract.image_settings import ImageSource
from engine.contract.online_settings import OwnFunction
from engine.contract.preset import Draft
from engine.contract.run_dir import RunDir, is_run_dir
from engine.contract.tuning_presets import DiffusionDpoPreset, TuningPreset
from engine.starting import own_code
from engine.starting.resolution import Places, changed, resolve_file, resolve_named, resolve_source

#: The class of a pipeline that is asked in words and can be tuned, and how those begin that are asked in words.
TUNED, ASKED_IN_WORDS = "StableDiffusionPipeline", "StableDiffusion"


def sections(draft: Draft, known: dict[str, Any], where: Places, faults: list[Fault]) -> dict[str, Any]:
    """The sections with absolute paths; nothing for a preset that does not tune, or cannot be read.

    known: sections that have some already.
    """
    preset = draft.preset
    if not isinstance(preset, TuningPreset):
        return {}
    pipeline = pipeline_of(Path(known["model"].path if "model" in known else preset.model.path))
    if pipeline.startswith(ASKED_IN_WORDS):
        faults.extend(_of_words(preset, pipeline))
    found: dict[str, Any] = {"drift": _drift(known.get("drift", preset.drift), where, faults)}
    if not isinstance(preset, DiffusionDpoPreset):
        found["rewards"] = _rewards(preset.rewards, ("rewards",), where, faults)
    elif preset.judged is not None:
        rewards = _rewards(preset.judged.rewards, ("judged", "rewards"), where, faults)
        found["judged"] = changed(preset.judged, rewards=rewards)
    return found


def pipeline_of(path: Path) -> str:
    """The class of the pipeline that lies in a folder or run on this machine; empty where nobody says."""
    folder = RunDir(path).final if is_run_dir(path) else path
    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(index.get("_class_name", "")) if isinstance(index, dict) else ""


def _of_words(preset: TuningPreset, pipeline: str) -> list[Fault]:
    """Faults of tuning a model that is asked in words."""
    if pipeline != TUNED:
        problem, remedy = f"is a {pipeline}, which can be drawn with, and not be tuned", f"name a {TUNED}"
        return [Fault(("model", "path"), preset.model.path, problem, remedy)]
    if not isinstance(preset, DiffusionDpoPreset):
        return of_captions(preset.rollout.prompts, ("rollout", "prompts"))
    return [] if preset.judged is None else of_captions(preset.judged.prompts, ("judged", "prompts"))


def of_captions(prompts: Sequence[int | str | None] | None, key: Key) -> list[Fault]:
    """What a model cannot draw that is asked in words: nothing said, and classes."""
    if not prompts:
        problem, remedy = "is empty, and the model is asked in words", "write a list of captions: what to draw"
        return [Fault(key, "null" if prompts is None else "[]", problem, remedy)]
    return [
        Fault((*key, place), str(prompt), "is a class, and the model is asked in words", "write a caption")
        for place, prompt in enumerate(prompts)
        if isinstance(prompt, int)
    ]


def _drift(drift: tuning_settings.Drift, where: Places, faults: list[Fault]) -> tuning_settings.Drift:
    if drift.data is not None:
        source = resolve_source(ImageSource(path=drift.data), where)
        if isinstance(source, Fault):
            faults.append(replace(source, key=("drift", "data")))
        else:
            drift = changed(drift, data=source.path)
    return drift


def _rewards(
    parts: list[tuning_settings.ImageReward], key: Key, where: Places, faults: list[Fault]
) -> list[tuning_settings.ImageReward]:
    found: list[tuning_settings.ImageReward] = []
    for index, part in enumerate(parts):
        match part:
            case tuning_settings.ClassProbability() | tuning_settings.Judged():
                found.append(changed(part, path=_model(part.path, (*key, index, "path"), where, faults)))
            case OwnFunction():
                found.append(_code(part, (*key, index), where, faults))
            case _:
                found.append(part)
    return found


def _code(part: OwnFunction, key: Key, where: Places, faults: list[Fault]) -> OwnFunction:
    resolved = resolve_file(part.path, where, (*key, "path"))
    if isinstance(resolved, Fault):
        faults.append(resolved)
        return part
    told = own_code.problems(part, Path(resolved))
    faults.extend(Fault((*key, name), str(getattr(part, name)), what, remedy) for name, what, remedy in told)
    return changed(part, path=resolved)


def _model(path: str, key: Key, where: Places, faults: list[Fault]) -> str:
    found = resolve_named(path, where, key)
    if isinstance(found, Fault):
        faults.append(found)
        return path
    return found

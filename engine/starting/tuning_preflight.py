"""What presets that tune name beside model and data: classifiers and images, found before the start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.contract import tuning_settings
from engine.contract.faults import Fault, Key
from engine.contract.image_settings import ImageSource
from engine.contract.online_settings import OwnFunction
from engine.contract.preset import Draft
from engine.contract.tuning_presets import DiffusionDpoPreset, TuningPreset
from engine.starting import own_code
from engine.starting.resolution import Places, changed, resolve_file, resolve_named, resolve_source


def sections(draft: Draft, known: dict[str, Any], where: Places, faults: list[Fault]) -> dict[str, Any]:
    """The sections with absolute paths; nothing for a preset that does not tune, or cannot be read.

    known: sections that have some already.
    """
    preset = draft.preset
    if not isinstance(preset, TuningPreset):
        return {}
    found: dict[str, Any] = {"drift": _drift(known.get("drift", preset.drift), where, faults)}
    if not isinstance(preset, DiffusionDpoPreset):
        found["rewards"] = _rewards(preset.rewards, ("rewards",), where, faults)
    elif preset.judged is not None:
        rewards = _rewards(preset.judged.rewards, ("judged", "rewards"), where, faults)
        found["judged"] = changed(preset.judged, rewards=rewards)
    return found


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

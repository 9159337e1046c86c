"""What `--reward` gives a command: the rewards of a preset or a run, or some written out."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from engine.command_line import arguments
from engine.contract import faults, online_settings, settings
from engine.contract.faults import Fault, PresetError
from engine.contract.preset import load_text_preset
from engine.contract.run_dir import RunDir, is_run_dir
from engine.contract.strict_yaml import YamlError, load_yaml
from engine.starting.resolution import resolve_file, resolve_named

HELP = (
    "whose rewards score the answers: a preset, a run, or a list as a preset writes it, e.g. '[{kind: verifier}]'"
    " (default: those of the run)"
)


class Rewards(BaseModel, **settings.STRICT):
    """Rewards by themselves, as a preset has them."""

    rewards: list[online_settings.Reward] = Field(min_length=1)


def rewards_of(options: argparse.Namespace, model: settings.Model) -> list[online_settings.Reward]:
    """What answers are scored by, as --reward says or as the model's own run did; nothing where nobody said.

    Raises PresetError.
    """
    return [_resolved(options, part) for part in _given(options, model)]


def _given(options: argparse.Namespace, model: settings.Model) -> list[online_settings.Reward]:
    given: str | None = options.reward
    if given is None:
        run = Path(model.path)
        return list(getattr(load_text_preset(RunDir(run).preset), "rewards", [])) if is_run_dir(run) else []
    if given.startswith("["):
        return _written(given)
    path = Path(given)
    file = RunDir(path).preset if is_run_dir(path) else path
    if not file.is_file():
        raise PresetError("--reward", [Fault((), given, "is no file", "name a preset, a run, or write [{kind: …}]")])
    found = list(getattr(load_text_preset(file), "rewards", []))
    if not found:
        raise PresetError("--reward", [Fault((), given, "has no rewards", "name a preset of grpo or ppo")])
    return found


def _resolved(options: argparse.Namespace, part: online_settings.Reward) -> online_settings.Reward:
    """Raises PresetError for a model or a file that is not there."""
    places = arguments.places_of(options)
    match part:
        case online_settings.LearnedReward():
            found = resolve_named(part.path, places, ("path",))
        case online_settings.Judged():
            found = resolve_named(part.path, places, ("path",))
            text = resolve_file(part.constitution, places, ("constitution",))
            if isinstance(text, Fault):
                raise PresetError("--reward", [text])
            part = part.model_copy(update={"constitution": text})
        case online_settings.OwnFunction():
            found = resolve_file(part.path, places, ("path",))
        case _:
            return part
    if isinstance(found, Fault):
        raise PresetError("--reward", [found])
    return part.model_copy(update={"path": found})


def _written(given: str) -> list[online_settings.Reward]:
    values: Any = None
    try:
        values = {"rewards": load_yaml(given)[0]}
        return Rewards.model_validate(values).rewards
    except ValidationError as error:
        raise PresetError("--reward", faults.from_validation(error, Rewards, values)) from error
    except YamlError as fault:
        raise PresetError("--reward", [Fault((), given, fault.problem, "write it as YAML")]) from fault

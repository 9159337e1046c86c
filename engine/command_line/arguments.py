"""What several commands ask for alike: numbers within bounds, a model, and how to sample from it."""

import argparse
from collections.abc import Callable
from pathlib import Path

from engine.contract import online_settings, settings
from engine.contract.faults import Fault, PresetError
from engine.contract.preset import load_text_preset
from engine.contract.run_dir import RunDir, is_run_dir
from engine.starting.preflight import device_faults, model_problems
from engine.starting.resolution import APPLICATION, Places, resolve_model, resolve_source

MODEL_HELP = "a run directory, run:<name>, a folder that save_pretrained wrote, a .gguf file, or a hub id"
DATA_HELP = "file.jsonl, .json, .csv, .parquet, hub id or task:<name>"


#: Seeds are mixed as numbers of 8 bytes; no preset takes a larger one either.
LARGEST_SEED = 2**32 - 1


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """For argparse: a whole number within bounds."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"should be a whole number (got {text})") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"should be at least {least} (got {text})")
        if most is not None and number > most:
            raise argparse.ArgumentTypeError(f"should be at most {most} (got {text})")
        return number

    return read


def number(*, above: float, most: float) -> Callable[[str], float]:
    """For argparse: a number greater than `above` and at most `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"should be a number (got {text})") from None
        if not above < value <= most:
            raise argparse.ArgumentTypeError(f"should be more than {above:g} and at most {most:g} (got {text})")
        return value

    return read


def share(text: str) -> float:
    """For argparse: a number from 0 to 1, without 1."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"should be a number (got {text})") from None
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"should be from 0 to less than 1 (got {text})")
    return value


def add_model(command: argparse.ArgumentParser) -> None:
    """MODEL, where its runs are looked up, and how it is loaded."""
    command.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    add_loading(command)


def add_loading(command: argparse.ArgumentParser) -> None:
    """Where runs are looked up, and how models are loaded."""
    command.add_argument(
        "--workspace", type=Path, default=Path(), metavar="DIR", help="whose runs run:<name> means (default: here)"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    command.add_argument(
        "--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"], help="of the weights"
    )
    command.add_argument("--threads", type=whole(1), metavar="N", help="CPU threads (default: measured)")
    command.add_argument(
        "--trust-remote-code", action="store_true", help="run Python code that the model's author ships"
    )


def add_sampling(command: argparse.ArgumentParser, *, count: int) -> None:
    """How answers are drawn."""
    command.add_argument("--count", type=whole(1), default=count, help=f"answers to each prompt (default: {count})")
    command.add_argument(
        "--max-new-tokens", type=whole(1), metavar="N", help="longest answer (default: 256, or half of what it reads)"
    )
    temperature = number(above=0, most=10)
    command.add_argument("--temperature", type=temperature, default=1.0, help="how freely tokens are drawn")
    command.add_argument("--top-p", type=number(above=0, most=1), default=1.0, help="draw from this share; 1 = all")
    command.add_argument("--top-k", type=whole(0), default=0, help="draw from so many likeliest tokens; 0 = all")
    share = number(above=0, most=1)
    command.add_argument("--min-p", type=share, default=0.0, help="leave out what is below this share of the likeliest")
    command.add_argument("--stop", metavar="TEXT", action="append", default=[], help="end answers with this text, too")
    command.add_argument("--greedy", action="store_true", help="always the likeliest token; then one answer a prompt")
    command.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, help="the same seed draws the same answers")
    command.add_argument("--system", metavar="TEXT", help="system prompt (default: that of the run's preset)")
    command.add_argument("--batch-size", type=whole(1), default=16, metavar="N", help="answers written at once")


def rollout_of(options: argparse.Namespace, *, longest: int) -> online_settings.Rollout:
    """How answers are drawn, as a preset would say it. Greedy answers are all alike, so one is enough.

    longest: the length of an answer where nobody said.
    """
    return online_settings.Rollout(
        completions_per_prompt=1 if options.greedy else options.count,
        max_new_tokens=options.max_new_tokens or longest,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        min_p=options.min_p,
        stop=options.stop,
    )


def places_of(options: argparse.Namespace) -> Places:
    """The current folder, the workspace, the application's."""
    workspace = options.workspace.resolve()
    return Places(tuple(dict.fromkeys((Path.cwd(), workspace, APPLICATION))), workspace)


def model_of(options: argparse.Namespace, given: str) -> settings.Model:
    """The model that was named, its path absolute. Raises PresetError, which tells every fault."""
    model = settings.Model(path=given, dtype=options.dtype, trust_remote_code=options.trust_remote_code)
    found = resolve_model(model, places_of(options))
    if isinstance(found, Fault):
        raise PresetError(given, [Fault((), "", found.problem, found.remedy)])
    faults = [Fault((), "", *told) for told in model_problems(Path(found.path))]
    if given == "scratch":
        faults.append(Fault((), "", "has learned nothing yet", "name a run, a folder, a .gguf file or a hub id"))
    try:
        found = settings.Model.model_validate({**found.model_dump(), "device": options.device})
    except ValueError:
        faults.append(Fault(("--device",), options.device, "is no device", "use auto, cpu, cuda, cuda:1 or mps"))
    faults += [Fault(("--device",), fault.given, fault.problem, fault.remedy) for fault in device_faults(found)]
    if faults:
        raise PresetError(given, faults)
    return found


def system_prompt_of(options: argparse.Namespace, model: settings.Model) -> str | None:
    """What was asked for, else what the run was trained with. Raises PresetError."""
    if options.system is not None:
        return options.system or None
    run = Path(model.path)
    return load_text_preset(RunDir(run).preset).data.system_prompt if is_run_dir(run) else None


def source_of(options: argparse.Namespace, given: str, *, rows: int | None = None) -> settings.Source:
    """The data that was named, its path absolute. Raises PresetError."""
    found = resolve_source(settings.Source(path=given, rows=rows), places_of(options))
    if isinstance(found, Fault):
        raise PresetError(given, [Fault((), "", found.problem, found.remedy)])
    return found

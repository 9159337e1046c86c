"""`export` of a run: its model in the form that others open."""

import argparse
from pathlib import Path
from typing import Any

from engine.command_line import terminal
from engine.command_line.arguments import whole
from engine.command_line.heavy import heavy
from engine.contract.faults import Fault, PresetError, one_of
from engine.contract.image_presets import ImagePreset
from engine.contract.preset import Preset, load_preset
from engine.contract.run_dir import RunDir
from engine.contract.settings import Adapter

#: What a run can be exported as.
FORMATS = ("full", "adapter", "merged")
#: A folder that has this was written whole by us, so it may be replaced.
OURS = "manifest.json"


def add_export_options(command: argparse.ArgumentParser) -> None:
    """What `export` takes besides where from, where to and the format, if it exports a run's model."""
    what = f"SOURCE is a run directory; --format: {', '.join(FORMATS)} (default: what the run trained)"
    group = command.add_argument_group("runs", what)
    group.add_argument("--step", type=whole(1), metavar="N", help="of this checkpoint (default: the newest model)")
    group.add_argument(
        "--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"], help="of the weights in DEST"
    )
    group.add_argument("--force", action="store_true", help="replace an earlier export of a model")
    group.add_argument("--trust-remote-code", action="store_true", help="run Python code that the model's author ships")


def export_model(options: argparse.Namespace) -> int:
    """Raises PresetError before anything is written, OSError."""
    run = RunDir(options.source.resolve())
    preset = load_preset(run.preset)
    form = options.format or ("full" if _adapter_of(preset) is None else "adapter")
    faults = [*_faults_of_form(form, preset), *_faults_of_run(run, options.step)]
    if fault := _fault_of_dest(options.dest, force=options.force):
        faults.append(fault)
    if faults:
        raise PresetError(str(options.source), faults)
    with heavy(str(options.source)):
        from engine.export import export_run

        how: Any = {"form": form, "dtype": options.dtype, "step": options.step}
        step = export_run(run, options.dest.resolve(), **how, trust_remote_code=options.trust_remote_code)
    if options.json:
        terminal.say_json({"dest": str(options.dest.resolve()), "format": form, "run": str(run.path), "step": step})
    else:
        terminal.say(f"the model of step {step} is in {options.dest}, {_in_words(form)}; README.md says how to open it")
    return 0


def _in_words(form: str) -> str:
    return {"full": "in full", "adapter": "the adapter alone", "merged": "its adapter merged into it"}[form]


def _adapter_of(preset: Preset) -> Adapter | None:
    return None if isinstance(preset, ImagePreset) else preset.model.adapter


def _faults_of_form(form: str, preset: Preset) -> list[Fault]:
    adapter = _adapter_of(preset)
    if form not in FORMATS:
        return [Fault(("--format",), form, "is not a format of a run", one_of(form, list(FORMATS)))]
    if adapter is None and form != "full":
        return [Fault(("--format",), form, "this run trained all weights and has no adapter", "use full")]
    if adapter is not None and form == "full":
        return [Fault(("--format",), form, "this run trained an adapter", "use merged for one model, or adapter")]
    if adapter is not None and form == "merged" and not adapter.is_low_rank:
        return [Fault(("--format",), form, "virtual tokens cannot be merged into a model's weights", "use adapter")]
    return []


def _faults_of_run(run: RunDir, step: int | None) -> list[Fault]:
    saved = run.saved_steps()
    if not saved and not run.final.is_dir():
        return [Fault((), "", "is a run without a model", "let it save a checkpoint first")]
    if step is not None and step not in saved:
        known = one_of(str(step), [str(s) for s in saved]) if saved else "leave it out"
        return [Fault(("--step",), str(step), "there is no checkpoint of this step", known)]
    return []


def _fault_of_dest(dest: Path, *, force: bool) -> Fault | None:
    given = str(dest)
    if not dest.exists():
        near = next(folder for folder in dest.resolve().parents if folder.exists())
        return None if near.is_dir() else Fault((), given, f"{near} is a file", "name another folder")
    if not force:
        return Fault((), given, "is there already", "name a new folder, or replace it with --force")
    if not dest.is_dir() or (any(dest.iterdir()) and not (dest / OURS).is_file()):
        return Fault((), given, "was not written by `export`, so it is not replaced", "name a new folder")
    return None

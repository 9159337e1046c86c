"""`export`: what was made here, in the form that others open."""

import argparse
from pathlib import Path

from engine.command_line import label_files, model_files
from engine.contract.faults import Fault, PresetError
from engine.contract.run_dir import is_run_dir


def add(command: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""
    command.add_argument(
        "source", type=Path, metavar="SOURCE", help="a run directory, or a labelling set: labels:<set> or its folder"
    )
    command.add_argument("dest", type=Path, metavar="DEST", help="a new folder")
    command.add_argument("--format", help="of a run what it trained, of a labelling set preference, unless told")
    model_files.add_export_options(command)
    label_files.add_export_options(command)
    command.set_defaults(command=export_command)


def export_command(options: argparse.Namespace) -> int:
    """Raises PresetError, before anything is written, for what cannot be exported."""
    if is_run_dir(options.source):
        return model_files.export_model(options)
    if (label_dir := label_files.label_set_at(options.source, options.workspace)) is not None:
        return label_files.export_labels(options, label_dir)
    fault = Fault(
        (), "", "is neither a run nor a labelling set", "name a run directory, labels:<set>, or a set's folder"
    )
    raise PresetError(str(options.source), [fault])

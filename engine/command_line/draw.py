"""`sample` for models of images: pictures, by a run of `diffusion_sample` like any other. Without torch."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from engine.command_line import arguments, terminal
from engine.contract import drawing_again, png_text
from engine.contract.faults import Fault, PresetError
from engine.contract.image_presets import IMAGE_PRESETS
from engine.contract.image_record import ImageRecord, Picture, read_picture
from engine.contract.image_settings import ASSETS
from engine.contract.png_text import PngError
from engine.contract.run_dir import RunDir, is_run_dir
from engine.contract.sampler_names import SAMPLERS
from engine.contract.strict_yaml import dump_yaml, load_yaml
from engine.starting import launch
from engine.starting.resolution import resolve_named

#: Options of pictures alone: where one is given, a hub id is a model of images.
OF_PICTURES = ("from_picture", "sampler", "steps", "eta", "guidance", "negative_prompt", "classes", "size")
#: What of a record was asked for; the rest is how it came to be.
ASKED = (
    *("sampler", "steps", "eta", "guidance", "prompt", "negative_prompt", "label", "seed", "index"),
    *("width", "height"),
)
#: What tells a folder of a model of images.
SIGNS = ("model_index.json", "unet", "vae")


def add(command: argparse.ArgumentParser) -> None:
    """The arguments of `sample` for pictures."""
    group = command.add_argument_group(
        "pictures", "of a model of images; PNGs that say how they were drawn, in the images/ of a new run"
    )
    group.add_argument(
        "--from", type=Path, dest="from_picture", metavar="PNG",
        help="draw this picture again as it says it was drawn; other options change it",
    )  # fmt: skip
    group.add_argument("--sampler", choices=list(SAMPLERS), metavar="NAME", help=f"{', '.join(SAMPLERS)}")
    group.add_argument("--steps", type=arguments.whole(1), metavar="N", help="from noise to picture (default: 20)")
    group.add_argument("--eta", type=float, help="ddim's share of noise on the way, 0 to 1 (default: 0)")
    group.add_argument("--guidance", type=float, help="1 = the model itself, 0 = unasked (default: 1)")
    group.add_argument("--negative-prompt", metavar="TEXT", help="what to go away from, with guidance above 1")
    group.add_argument(
        "--class", type=arguments.whole(0), action="append", dest="classes", metavar="N",
        help="draw this class; may be given again (default: all in turn)",
    )  # fmt: skip
    group.add_argument("--size", type=_size, metavar="WxH", help="in pixels (default: what the model was trained for)")


def is_asked_for(options: argparse.Namespace) -> bool:
    """Whether pictures are wanted rather than answers."""
    if any(getattr(options, name) is not None for name in OF_PICTURES):
        return True
    if options.model is None or options.model.startswith(ASSETS):
        return options.model is not None
    found = resolve_named(options.model, arguments.places_of(options), ())
    return not isinstance(found, Fault) and _draws(Path(found))


def start(options: argparse.Namespace) -> RunDir:
    """Start a run that draws what was asked for. Raises PresetError, LaunchError."""
    picture = None if options.from_picture is None else _read(options.from_picture)
    preset = _preset(options, picture)
    name = options.model or str(options.from_picture)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sample.yaml")
        file.write_text(dump_yaml(preset), "utf-8")
        try:
            return launch.start(launch.prepare(file, [], workspace=options.workspace, at=options.output))
        except PresetError as error:
            lineless = [Fault(fault.key, fault.given, fault.problem, fault.remedy) for fault in error.faults]
            raise PresetError(name, lineless) from error


def compared(source: Path, run: RunDir) -> str:
    """Whether a picture that was drawn again is the same, and else what may be why. Empty if it is not there."""
    drawn = next(iter(sorted(run.images.glob("*.png"))), None)
    if drawn is None:
        return ""
    before, after = read_picture(source).record, read_picture(drawn).record
    if before is None or after is None or not _is_alike(before, after):
        return ""
    if png_text.pixel_data(source) == png_text.pixel_data(drawn):
        return "it is the same picture, bit for bit"
    reasons = [name for name in ("fingerprint", "dtype", "device", "threads") if _differ(before, after, name)]
    reasons += [name for name in after.versions if before.versions.get(name) != after.versions[name]]
    words = {"fingerprint": "the model's weights"}
    why = ", ".join(words.get(name, name) for name in reasons)
    return f"it differs from {source.name}: not the same as then are {why}" if why else f"it differs from {source.name}"


# ------------------------------------------------------------------------------------------------------- before it


def _preset(options: argparse.Namespace, picture: Picture | None) -> dict[str, Any]:
    """What a preset file would say."""
    if picture is None:
        model = {"path": options.model}
        preset: dict[str, Any] = {"method": "diffusion_sample", "model": model, "diffusion_sample": {}}
    elif picture.record is not None:
        preset = drawing_again.again(picture.record)
        if options.model:
            preset["model"]["path"] = options.model
    else:
        preset = drawing_again.as_told(picture.told, _named_by(options))
        terminal.complain(_what_is_taken(picture, options.from_picture))
    given = {name: getattr(options, name) for name in OF_PICTURES if name not in ("from_picture", "size")}
    given |= {"prompts": options.prompt or None, "threads": options.threads}
    if options.size is not None:
        given |= dict(zip(("width", "height"), options.size, strict=True))
    if picture is None:
        given |= {"seeds": [options.seed], "count": options.count, "batch_size": options.batch_size}
    preset["diffusion_sample"] |= {name: value for name, value in given.items() if value is not None}
    for name in ("device", "dtype"):
        if getattr(options, name) != "auto":
            preset["model"][name] = getattr(options, name)
    return preset


def _named_by(options: argparse.Namespace) -> str:
    if options.model:
        return str(options.model)
    problem = "does not say where its model is"
    raise PresetError(str(options.from_picture), [Fault((), "", problem, "name a model before --from")])


def _what_is_taken(picture: Picture, file: Path) -> str:
    told = picture.told
    if not told.tool:
        return f"{file.name} does not say how it was drawn; only the options count"
    is_known = not told.sampler or drawing_again.sampler_named(told.sampler)
    lost = "" if is_known else f"; its sampler, {told.sampler}, is not here"
    return f"{file.name} is of {told.tool}, whose noise is its own: its settings are taken, the picture differs{lost}"


def _read(file: Path) -> Picture:
    try:
        return read_picture(file)
    except PngError as error:
        raise PresetError(str(file), [Fault((), "", error.problem, error.remedy)]) from error


def _draws(path: Path) -> bool:
    """Whether what lies there is a model of images, as far as its names tell."""
    if is_run_dir(path):
        data, _ = load_yaml(RunDir(path).preset.read_text("utf-8"))
        return isinstance(data, dict) and data.get("method") in IMAGE_PRESETS
    return any((path / sign).exists() for sign in SIGNS) or path.suffix in (".safetensors", ".ckpt")


def _is_alike(before: ImageRecord, after: ImageRecord) -> bool:
    """Whether both were asked for the same, so that they should be the same."""
    return not any(_differ(before, after, name) for name in ASKED)


def _differ(before: ImageRecord, after: ImageRecord, name: str) -> bool:
    return bool(getattr(before, name) != getattr(after, name))


def _size(text: str) -> tuple[int, int]:
    width, x, height = text.lower().partition("x")
    if not (x and width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"should be like 512x768 (got {json.dumps(text)})")
    return int(width), int(height)

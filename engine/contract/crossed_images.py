"""Faults of a preset of an image method that take two settings to see."""

from engine.contract import drawing_plan, image_settings
from engine.contract.faults import Fault
from engine.contract.image_presets import DiffusionSamplePreset, ImagePreset
from engine.contract.tuning_presets import TuningPreset, of_tuning


def of_images(preset: ImagePreset) -> list[Fault]:
    """Faults of the sections that image methods share, as far as the method has them."""
    found = []
    model, data = getattr(preset, "model", None), getattr(preset, "data", None)
    if isinstance(model, image_settings.AnyImageModel) and model.path == "scratch" and model.scratch is None:
        remedy = "say what to build, or give model.path a model"
        found.append(Fault(("model", "scratch"), "null", "is missing", remedy))
    if isinstance(model, image_settings.ImageModel) and model.scratch is not None:
        found += of_network(model.scratch)
    if isinstance(data, image_settings.ImageData) and data.eval is not None and data.eval_share:
        remedy = "give one of them: a source of its own, or a share of the training images"
        found.append(Fault(("data", "eval_share"), str(data.eval_share), "stands beside data.eval", remedy))
    if isinstance(preset, DiffusionSamplePreset):
        found += drawing_plan.faults(preset.diffusion_sample) + of_drawing(preset.model)
    if isinstance(preset, TuningPreset):
        found += of_tuning(preset)
    return found


def of_drawing(model: image_settings.ImageModel) -> list[Fault]:
    """Faults of a model to draw with."""
    if model.path != "scratch":
        return []
    return [Fault(("model", "path"), "scratch", "has learned nothing to draw", "name a run, a folder or assets:<name>")]


def of_network(wish: image_settings.Network) -> list[Fault]:
    """Faults of a network to build."""
    levels = wish.levels
    if wish.size % 2 ** (levels - 1):
        problem = f"cannot be halved {levels - 1} times"
        remedy = f"use a multiple of {2 ** (levels - 1)}, or fewer levels"
        return [Fault(("model", "scratch", "size"), str(wish.size), problem, remedy)]
    if wish.beta_start >= wish.beta_end:
        given = f"{wish.beta_start:g}"
        return [Fault(("model", "scratch", "beta_start"), given, "is not below beta_end", "noise has to grow")]
    return [] if wish.text is None else of_words(wish, wish.text)


def of_words(wish: image_settings.Network, text: image_settings.TextEncoder) -> list[Fault]:
    """Faults of a network that is asked in words."""
    found = []
    if wish.classes:
        remedy = "set it to 0, and give images without captions data.train.caption; or take model.scratch.text out"
        found.append(Fault(("model", "scratch", "classes"), str(wish.classes), "stands beside text", remedy))
    if text.path == "scratch" and text.width % text.heads:
        given = f"{text.width} / {text.heads}"
        found.append(Fault(("model", "scratch", "text", "heads"), given, "must divide the width", "try 4"))
    return found

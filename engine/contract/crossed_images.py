"""Faults of a preset of an image method that take two settings to see."""

from engine.contract import image_settings
from engine.contract.faults import Fault
from engine.contract.image_presets import ImagePreset


def of_images(preset: ImagePreset) -> list[Fault]:
    """Faults of the sections that image methods share, as far as the method has them."""
    found = []
    model, data = getattr(preset, "model", None), getattr(preset, "data", None)
    if isinstance(model, image_settings.ImageModel):
        found += of_model(model)
    if isinstance(data, image_settings.ImageData) and data.eval is not None and data.eval_share:
        remedy = "give one of them: a source of its own, or a share of the training images"
        found.append(Fault(("data", "eval_share"), str(data.eval_share), "stands beside data.eval", remedy))
    return found


def of_model(model: image_settings.ImageModel) -> list[Fault]:
    """Faults of a network to build, and of none."""
    if model.path != "scratch":
        return []
    if model.scratch is None:
        remedy = "say what to build, or give model.path a model"
        return [Fault(("model", "scratch"), "null", "is missing", remedy)]
    levels = model.scratch.levels
    if model.scratch.size % 2 ** (levels - 1):
        problem = f"cannot be halved {levels - 1} times"
        remedy = f"use a multiple of {2 ** (levels - 1)}, or fewer levels"
        return [Fault(("model", "scratch", "size"), str(model.scratch.size), problem, remedy)]
    if model.scratch.beta_start >= model.scratch.beta_end:
        given = f"{model.scratch.beta_start:g}"
        return [Fault(("model", "scratch", "beta_start"), given, "is not below beta_end", "noise has to grow")]
    return []

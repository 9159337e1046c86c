"""Which half of the engine a run needs: that of text or that of images. Only the one it needs is loaded."""

from collections.abc import Callable
from typing import Any, NamedTuple

from engine.contract.image_presets import ImagePreset
from engine.contract.preset import Preset


class Wiring(NamedTuple):
    """assemble(run, preset, accelerator, reporter, control) gives the parts; examine(parts, budget=…) a report."""

    assemble: Callable[..., Any]
    examine: Callable[..., Any]


def wiring_of(preset: Preset) -> Wiring:
    """Loads what it names, which takes seconds."""
    if isinstance(preset, ImagePreset):
        from engine import image_assembly
        from engine.rehearsal import images

        return Wiring(image_assembly.assemble, images.examine)
    from engine import assembly
    from engine.rehearsal import report

    return Wiring(assembly.assemble, report.examine)

"""The parts of a run of an image method, put together from its preset, as `assembly.py` does it for text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from engine.assembly import groups_of, known_threads
from engine.checkpoint import training_tensors
from engine.contract import settings
from engine.contract.image_presets import ImagePreset
from engine.contract.preset import model_of, training_of
from engine.contract.run_dir import RunDir
from engine.diffusion.bench import ImageBench
from engine.image_card import image_card
from engine.loop import Control, Method, Progress
from engine.methods.image_methods import IMAGE_METHODS
from engine.reporting import Reporter
from engine.saving import Keeper, put_final
from engine.threads import calibrate
from engine.work import Work

#: How what `state` of a model gave is called in a checkpoint.
WEIGHT = "weight."


@dataclass(frozen=True)
class ImageParts:
    """Everything a run of an image method is made of. optimizer: None where nothing is trained."""

    run: RunDir
    preset: ImagePreset
    bench: ImageBench[Any]
    method: Method | Work
    optimizer: Any
    threads: int

    @property
    def scorer(self) -> nn.Module:
        """What learns, as accelerate wrapped it."""
        return self.bench.network

    @property
    def meter(self) -> None:
        """Weights and tokens tell nothing of convolutions, so the arithmetic of images is not counted."""
        return

    def save(self, progress: Progress, reporter: Reporter) -> None:
        """Write a checkpoint; a full disk costs the checkpoint, not the run."""
        model = self.bench.model
        self._keeper.save(
            progress,
            reporter,
            model.save,
            lambda: {f"{WEIGHT}{name}": tensor for name, tensor in model.state().items()},
        )

    def restore(self, path: Path) -> Progress:
        """Go back to where a checkpoint was made."""
        self._restore_model(path)
        return self._keeper.restore(path)

    def finish(self, reporter: Reporter, progress: Progress) -> None:
        """Put the trained model, or its best weights where they were looked for, into final/, with a card; whole."""
        if not self.bench.accelerator.is_main_process:
            return
        if best := self._keeper.best_checkpoint(reporter, progress):
            self._restore_model(best)
        put_final(self.run, self._write_final)

    @property
    def _keeper(self) -> Keeper:
        assert isinstance(self.method, Method)  # noqa: S101 - nothing else is saved
        training = training_of(self.preset) or settings.Training()
        return Keeper(self.run, training, self.bench.accelerator, self.optimizer, self.method, self.threads)

    def _write_final(self, folder: Path) -> None:
        self.bench.model.save(folder)
        (folder / "README.md").write_text(image_card(self.run, self.preset, folder), "utf-8")

    def _restore_model(self, path: Path) -> None:
        tensors = training_tensors(path)
        state = {name.removeprefix(WEIGHT): t for name, t in tensors.items() if name.startswith(WEIGHT)}
        self.bench.model.restore(path, state)


def assemble(
    run: RunDir, preset: ImagePreset, accelerator: Accelerator, reporter: Reporter, control: Control
) -> ImageParts:
    """Load the model and build the method, which reads its data. Raises ImageModelError, ImageDataError."""
    device, entry = accelerator.device, IMAGE_METHODS[preset.method]
    if device.type == "cpu":
        _set_threads(run, training_of(preset) or settings.Training(), reporter)
    model, network, optimizer = None, nn.Module(), None
    if entry.open is not None:
        reporter.phase("loading the model")
        model = entry.open(model_of(preset), device=device, seed=preset.seed)
        network = model.network
        control.breathe()
    wish: settings.Optimizer | None = getattr(preset, "optimizer", None)
    if wish is not None and model is not None:
        optimizer = torch.optim.AdamW(groups_of(wish, network), lr=wish.learning_rate, fused=True)
        network, optimizer = accelerator.prepare(network, optimizer)
    reporter.phase("reading the data")

    def breathe() -> None:
        reporter.beat()
        control.breathe()

    bench = ImageBench(model, network, accelerator, reporter, breathe, run)
    return ImageParts(run, preset, bench, entry.build(preset, bench), optimizer, torch.get_num_threads())


def _set_threads(run: RunDir, training: settings.Training, reporter: Reporter) -> None:
    """As many as were asked for or used before, or as are fastest now at convolutions of a small network."""
    known = known_threads(run, training)
    if known is not None:
        torch.set_num_threads(known)
        return
    reporter.phase("measuring threads")
    with torch.random.fork_rng():
        layer = nn.Conv2d(32, 32, 3, padding=1)
        images = torch.randn(32, 32, 8, 8)
        calibrate(lambda: layer(images).sum().backward(), processes=training.processes)

"""A run that draws: pictures with their records, and the way each came out of noise, without an engine."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, Qt
from PySide6.QtGui import QFont, QImage, QImageWriter, QPainter

from engine.contract import events, trajectory
from engine.contract.image_record import ImageRecord, with_record
from engine.contract.trajectory import About, Frame, Point, TrajectoryWriter
from tests.workbench.fake_runs import FakeEngine

SIDE, STEPS = 16, 20
#: Of the grid, each drawn in one step of the run.
ROWS = 3
Pixels = np.typing.NDArray[np.float64]


def digit(number: int, seed: int, side: int = SIDE) -> Pixels:
    """(side, side) from 0 to 1: a figure, bright on dark, a little different for each seed."""
    large = QImage(128, 128, QImage.Format.Format_Grayscale8)
    large.fill(0)
    painter = QPainter(large)
    lot = np.random.default_rng(seed * 31 + number)
    painter.translate(64, 64)
    painter.rotate(float(lot.normal(0, 7)))
    painter.setPen(Qt.GlobalColor.white)
    font = QFont()
    font.setPixelSize(112 + int(lot.integers(-8, 8)))
    font.setBold(True)
    painter.setFont(font)
    painter.drawText(-64, -64, 128, 128, Qt.AlignmentFlag.AlignCenter, str(number))
    painter.end()
    lines = np.frombuffer(large.constBits(), np.uint8).reshape(128, -1)[:, :128].astype(np.float64) / 255
    whole = lines.reshape(side, 128 // side, side, 128 // side).mean(axis=(1, 3))
    made: Pixels = np.clip(1.4 * whole + 0.02 * lot.normal(size=whole.shape), 0, 1)
    return made


def png(pixels: Pixels) -> bytes:
    side = pixels.shape[0]
    grey = np.ascontiguousarray(np.clip(255 * pixels, 0, 255).astype(np.uint8))
    image = QImage(grey.data, side, side, side, QImage.Format.Format_Grayscale8)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    assert QImageWriter(buffer, QByteArray(b"PNG")).write(image)
    return bytes(buffer.data().data())


def record(index: int, *, label: int, guidance: float = 2.0, sampler: str = "ddim", side: int = SIDE) -> ImageRecord:
    return ImageRecord(
        model="assets:digits-denoiser",
        sampler=sampler,
        steps=STEPS,
        guidance=guidance,
        label=label,
        seed=7,
        index=index,
        width=side,
        height=side,
        cell={"guidance": guidance, "class": label},
        run="digits",
    )


class FakeSampler(FakeEngine):
    """Draws pictures as diffusion_sample does."""

    def __init__(self, runs: Path, name: str = "digits", *, method: str = "diffusion_sample", stamp: str = "") -> None:
        super().__init__(runs, name, method=method, steps=ROWS, stamp=stamp)
        preset = f"method: {method}\nname: {name}\nmodel: {{path: assets:digits-denoiser}}\n"
        self.run.preset.write_text(preset)
        self.run.images.mkdir(exist_ok=True)
        self.drawn = 0

    def draw(self, labels: list[int], guidances: list[float]) -> "FakeSampler":
        """A grid of pictures, row by row, each told as soon as it is there."""
        for guidance in guidances:
            for label in labels:
                told = record(label, label=label, guidance=guidance)
                pixels = np.clip(digit(label, 7) * (0.55 + 0.15 * guidance), 0, 1)
                self.put(
                    f"images/{self.drawn:06d}.png", with_record(png(pixels), told), role="sample", step=self.step + 1
                )
            self.step += 1
            self.say(events.Step(step=self.step, time=self.began, values={"images/drawn": float(self.drawn)}))
        return self

    def put(self, path: str, data: bytes, *, role: str = "", step: int = 0) -> None:
        (self.run.path / path).write_bytes(data)
        self.drawn += 1
        self.say(events.Image(step=step, time=self.began, path=path, role=role))

    def begin_track(
        self, name: str, *, sampler: str = "ddim", steps: int = STEPS, count: int = 10, side: int = SIDE
    ) -> TrajectoryWriter:
        about = About(
            what=f"{sampler}, {steps} steps",
            sampler=sampler,
            steps=steps,
            count=count,
            width=side,
            height=side,
            seeds=tuple(range(count)),
            model="assets:digits-denoiser",
        )
        return trajectory.begin(self.run.path / "trajectories" / name, about)


def frames(about: About) -> Iterator[Frame]:
    """Noise that becomes digits: x_t of the line, alpha-bar of a cosine, and an x0 that sharpens on the way."""
    clean = np.stack([2 * digit(at % 10, 7, about.width) - 1 for at in range(about.count)])
    noise = np.random.default_rng(7).normal(size=clean.shape)
    for step in range(1, about.steps + 1):
        t = 1 - (step - 1) / (about.steps - 1)
        kept = math.cos(t * math.pi / 2)
        x = kept * clean + math.sqrt(1 - kept * kept) * noise
        x0 = clean * (1 - t) ** 0.5 + t * clean.mean(axis=0)
        size_x, size_x0 = (math.sqrt(float((part**2).mean())) for part in (x, x0))
        yield Frame(Point(step, 1000 * t, size_x, size_x0, 0.01 * step), _rgb(x), _rgb(x0))


def _rgb(pixels: Pixels) -> bytes:
    grey = np.clip(127.5 * (pixels + 1), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1).tobytes()


def drawing(workspace: Path) -> FakeSampler:
    """A workspace with one run that draws digits: a grid of 3 x 10 pictures, and two samplers from the same noise."""
    engine = FakeSampler(workspace / "runs", stamp="20251009-101500")
    engine.begin()
    for sampler, steps in (("ddim", STEPS), ("ddpm", 2 * STEPS)):
        writer = engine.begin_track(sampler, sampler=sampler, steps=steps)
        writer.append(frames(writer.about))
    return engine.draw(list(range(10)), [1.0, 2.0, 4.0])

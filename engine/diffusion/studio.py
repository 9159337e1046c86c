"""`diffusion_sample`: pictures from models of images, cell by cell of a grid, and how they came out of noise.

A picture that is there to its last byte is not drawn again, so a stopped run goes on where it was.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from engine.contract import drawing_plan, events
from engine.contract.drawing_plan import Batch, How, Shot
from engine.contract.image_presets import DiffusionSamplePreset
from engine.contract.image_settings import ASSETS
from engine.contract.run_dir import RunDir
from engine.contract.trajectory import About
from engine.diffusion.bench import ImageBench
from engine.diffusion.exposure import Exposed, expose
from engine.diffusion.film import Film, begin_film
from engine.diffusion.painters import Painter, fingerprint
from engine.diffusion.pipelines import open_painter, path_of
from engine.diffusion.png_files import is_whole, png_of, save_whole
from engine.diffusion.recording import Hand, record_of
from engine.diffusion.stepping import Moment
from engine.models import choose_dtype
from engine.reporting import Reporter
from engine.work import Work

#: Where the models lie that ship with the application, which `assets:<name>` means.
SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "diffusion"
#: Trajectories of one run at most: a grid of a thousand settings would keep more than anybody looks at.
MOST_FILMS = 64
#: How often a batch that takes long tells how far it is.
TELL_SECONDS = 1.0


class Spoilt(ValueError):  # noqa: N818 - reads as what happened
    """Nothing of what was drawn is made of numbers."""


class Open(NamedTuple):
    """The model that is in memory. path: where it lies; weights: its fingerprint."""

    path: str
    painter: Painter
    weights: str


def diffusion_sample(preset: DiffusionSamplePreset, bench: ImageBench[None]) -> Work:
    """Draw all that the preset asks for. Opens models itself, as a grid may ask for several."""
    section = preset.diffusion_sample
    if section.threads != "auto":
        torch.set_num_threads(section.threads)
    dtype = choose_dtype(preset.model.dtype, bench.device)
    return Studio(preset, bench.run, bench.reporter, bench.breathe, bench.device, dtype).work()


@dataclass
class Studio:
    """Draws a preset's batches, one a step. breathe: called often; raises StopNow."""

    preset: DiffusionSamplePreset
    run: RunDir
    reporter: Reporter
    breathe: Callable[[], None]
    device: torch.device
    dtype: torch.dtype
    batches: list[Batch] = field(init=False)
    pace: "Pace" = field(init=False)
    opened: Open | None = None

    def __post_init__(self) -> None:
        self.batches = drawing_plan.batches(self.preset.diffusion_sample, self.preset.model.path)
        self.pace = Pace()

    def work(self) -> Work:
        """What the run has to do, and what of it is there already."""
        done = 0
        while done < len(self.batches) and self._is_drawn(self.batches[done]):
            done += 1
        return Work(len(self.batches), self.step, done)

    def step(self, number: int) -> dict[str, float]:
        """Draw batch `number`, from 1. Raises PainterError, ScheduleError, Spoilt, OSError, StopNow."""
        batch = self.batches[number - 1]
        if not self._is_drawn(batch):
            self.pace = self.pace.after(_cost(batch), self._draw(batch))
        drawn = [shot for shot in batch.shots if is_whole(self._file(shot))]
        for shot in drawn:
            path = self._file(shot).relative_to(self.run.path).as_posix()
            self.reporter.event(events.Image(step=number, time=time.time(), path=path, role="sample"))
        if not drawn:
            remedy = advice(batch.how, self.dtype)
            raise Spoilt(f"nothing of {batch.shots[0].name} and what was drawn with it is made of numbers\n{remedy}")
        left = sum(map(_cost, self.batches[number:]))
        drawn_before = sum(len(each.shots) for each in self.batches[: number - 1])
        return {"images/drawn": float(drawn_before + len(drawn)), **self.pace.values(left)}

    def _draw(self, batch: Batch) -> float:
        """Returns the seconds it took."""
        opened = self._open(batch.how)
        started = time.perf_counter()
        rows, kept = self._rows(batch)
        told = Watch(self._film(batch, opened), self.breathe, self._telling(batch))
        exposed = expose(opened.painter, batch.how, rows, self.device, told)
        for row in kept:
            self._develop(opened, batch.how, rows, row, exposed)
        return time.perf_counter() - started

    def _rows(self, batch: Batch) -> tuple[Sequence[Shot], Sequence[int]]:
        """What is drawn at once, and which rows of it are kept."""
        among = self.preset.diffusion_sample.among
        if among is None:
            return batch.shots, range(len(batch.shots))
        return batch.shots * among.rows, [among.place]

    def _develop(self, opened: Open, how: How, rows: Sequence[Shot], row: int, exposed: Exposed) -> None:
        """From what the sampler gave to a PNG. One by one: a decoder needs far more memory than the network."""
        shot, step = rows[row], exposed.spoilt.get(row)
        pixels = exposed.x[row : row + 1] if step is not None else opened.painter.decode(exposed.x[row : row + 1])
        if step is not None or not bool(torch.isfinite(pixels).all()):
            when = "after its latents were decoded" if step is None else f"after step {step} of {how.steps}"
            what = f"{shot.name}.png is not there: {when} not all of it was numbers any more"
            self.reporter.notice("error", what, advice(how, self.dtype))
            return
        hand = Hand(named(opened.path), opened.weights, opened.painter, self.device, self.dtype)
        record = record_of(hand, how, shot, pixels, rows=len(rows), place=row, run=self.run.path.name)
        save_whole(self._file(shot), png_of(pixels[0], record))

    def _open(self, how: How) -> Open:
        path = path_of(how.model, how.checkpoint)
        if self.opened is None or self.opened.path != path:
            self.opened = None  # first let go of the one before: two may not fit
            self.reporter.phase("loading the model")
            painter = open_painter(self.preset.model, path, device=self.device, dtype=self.dtype)
            self.opened = Open(path, painter, fingerprint(painter.network))
        return self.opened

    def _film(self, batch: Batch, opened: Open) -> Film | None:
        count = min(self.preset.diffusion_sample.trajectory, len(batch.shots))
        films = [each for each in self.batches if each.is_first]
        if not (count and batch.is_first) or films.index(batch) >= MOST_FILMS:
            return None
        how, shots = batch.how, batch.shots[:count]
        _, height, width = opened.painter.shape(how.width, how.height)
        about = About(
            what=f"{how.sampler}, {how.steps} steps" + (f", eta {how.eta:g}" if how.eta else ""),
            sampler=how.sampler,
            steps=how.steps,
            count=count,
            width=width,
            height=height,
            seeds=tuple(shot.seed for shot in shots),
            model=named(opened.path),
            images=tuple(self._file(shot).relative_to(self.run.path).as_posix() for shot in shots),
            is_latent=opened.painter.is_latent,
        )
        return begin_film(self.run.path / "trajectories" / shots[0].name, about, opened.painter.look)

    def _telling(self, batch: Batch) -> Callable[[Moment], None]:
        """Says how far a batch is, where it takes long enough for somebody to wonder."""
        told = time.monotonic()

        def tell(moment: Moment) -> None:
            nonlocal told
            if time.monotonic() - told > TELL_SECONDS and moment.step < moment.steps:
                told = time.monotonic()
                what = f"drawing {batch.shots[0].name}, step {moment.step} of {moment.steps}"
                self.reporter.phase(what, moment.step / moment.steps)

        return tell

    def _is_drawn(self, batch: Batch) -> bool:
        return all(is_whole(self._file(shot)) for shot in batch.shots)

    def _file(self, shot: Shot) -> Path:
        return self.run.images / f"{shot.name}.png"


class Pace(NamedTuple):
    """How fast this life of a run draws. work: steps times pictures."""

    work: float = 0.0
    seconds: float = 0.0

    def after(self, work: float, seconds: float) -> "Pace":
        return Pace(self.work + work, self.seconds + seconds)

    def values(self, left: float) -> dict[str, float]:
        """What is plotted; left: work that is still to do."""
        if not self.seconds or not self.work:
            return {}
        rate = self.work / self.seconds
        return {"images/steps_per_second": rate, "images/seconds_left": left / rate}


@dataclass(frozen=True)
class Watch:
    """What happens after each step of a sampler."""

    film: Film | None
    breathe: Callable[[], None]
    tell: Callable[[Moment], None]

    def __call__(self, moment: Moment) -> None:
        if self.film is not None:
            self.film.watch(moment)
        self.breathe()
        self.tell(moment)


def named(path: str) -> str:
    """A model's path as pictures say it: what ships by its name, which is the same on every machine."""
    here = Path(path)
    return f"{ASSETS}{here.name}" if here.parent == SHIPPED else path


def advice(how: How, dtype: torch.dtype) -> str:
    """What to try where numbers went out of bounds."""
    if dtype is not torch.float32:
        return "set model.dtype to float32"
    if abs(how.guidance) > 10:
        return f"lower diffusion_sample.guidance, which is {how.guidance:g}"
    return "try another sampler or more steps; if it stays so, the model's weights are damaged"


def _cost(batch: Batch) -> float:
    return float(batch.how.steps * len(batch.shots))

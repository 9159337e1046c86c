"""Diffusion in two dimensions and continuous time: small enough to watch every particle of it."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.contract.image_presets import ToyDiffusionPreset
from engine.contract.toy import Toy, append_record, begin_toy
from engine.diffusion.bench import ImageBench, parts_of
from engine.diffusion.continuous_samplers import span
from engine.diffusion.noise import generator_of
from engine.diffusion.prediction import noised
from engine.diffusion.samplers import moments
from engine.diffusion.schedules import alpha_bar, schedule_of
from engine.diffusion.toy import ToyModel, energy_distance, field_of, grid_of, log_snr, points_of, predictor
from engine.loop import Method, Update
from engine.methods.bench import is_due
from engine.tally import Values

#: Streams of random numbers; those of steps are below 0.
HELD_OUT, PARTICLES, ON_THE_WAY, GOAL = range(4)
EXTENT, GRID = 2.6, 18
#: Moments of a sampler that are kept, beside the noise itself, and points of the data shown with them.
MOMENTS, SHOWN = 20, 1000


class Points(NamedTuple):
    """x: (n, 2), at a logarithm of signal to noise (n,), with the noise (n, 2) in it. points: of the whole step."""

    x: Tensor
    log_snr: Tensor
    noise: Tensor
    points: float

    def only(self, places: list[int]) -> "Points":
        """Those at these places, still as a part of the same step."""
        return Points(self.x[places], self.log_snr[places], self.noise[places], self.points)


def toy_diffusion(preset: ToyDiffusionPreset, bench: ImageBench[ToyModel]) -> Method:
    """L_simple of Ho et al. 2020 (arXiv:2006.11239), eq. 14, at real times; drawn by Song et al. 2021 (2011.13456)."""
    torch.set_num_threads(1)  # what is added up here is too little for two
    own, training, model = preset.toy_diffusion, preset.training, bench.model
    schedule = schedule_of({"beta_schedule": own.schedule})
    show = _Show(preset, bench)

    def points(stream: int, count: int) -> Points:
        generator = generator_of(preset.seed, stream)
        clean, noise = points_of(own.data, count, generator), torch.randn(count, 2, generator=generator)
        begin, end = span(schedule)
        a = alpha_bar(schedule, end + (begin - end) * torch.rand(count, generator=generator, dtype=torch.float64))
        return Points(noised(clean, noise, a), log_snr(a, clean), noise, float(count))

    def batches(step: int) -> Iterator[Update]:
        whole, mine = points(-step, training.batch_size), bench.share(range(training.batch_size))
        yield Update([whole.only(part) for part in parts_of(mine, training.micro_batch_size)], tokens=0, values={})

    def loss(batch: Points) -> tuple[Tensor, Values]:
        x, time, noise = (part.to(bench.device) for part in batch[:3])
        error = F.mse_loss(bench.network(x, time), noise, reduction="none").mean(1)
        return error.sum() / batch.points, {}

    @torch.no_grad()
    def measure(step: int) -> dict[str, float]:
        if not is_due(step, training.eval_every, training.steps):
            return {}
        apart = show.keep(step, model)
        return {"eval_loss": float(loss(points(HELD_OUT, 4096))[0]), "eval_energy_distance": apart}

    return Method(batches, loss, measure)


class _Show:
    """Moves the same particles through the network as it is now, and keeps what the window draws."""

    def __init__(self, preset: ToyDiffusionPreset, bench: ImageBench[ToyModel]) -> None:
        own = preset.toy_diffusion
        self._own, self._bench, self._seed = own, bench, preset.seed
        self._schedule = schedule_of({"beta_schedule": own.schedule})
        self._noise = torch.randn(own.particles, 2, generator=generator_of(preset.seed, PARTICLES))
        self._goal = points_of(own.data, SHOWN, generator_of(preset.seed, GOAL))
        self._kept = sorted({round(k * own.steps / MOMENTS) for k in range(MOMENTS + 1)})
        begin, end = span(self._schedule)
        self._times = [begin + (end - begin) * place / own.steps for place in self._kept]
        count = len(self._schedule.alphas_cumprod)
        shown = tuple((round(x, 3), round(y, 3)) for x, y in self._goal.tolist())
        times = tuple((time + 1) / count for time in self._times)
        self._toy = Toy(
            data=own.data, sampler=own.sampler, times=times, particles=own.particles,
            grid=GRID, extent=EXTENT, goal=shown,
        )  # fmt: skip
        if bench.accelerator.is_main_process:
            begin_toy(bench.run.path, self._toy)

    def keep(self, step: int, model: ToyModel) -> float:
        """Write a record. Returns how far the particles end from the data."""
        device, stream = self._bench.device, generator_of(self._seed, ON_THE_WAY)
        predict, grid = predictor(model.network, self._schedule), grid_of(EXTENT, GRID).to(device)
        where = [self._noise.to(device)]
        way = moments(
            predict, self._schedule, where[0], sampler=self._own.sampler, steps=self._own.steps,
            draw=lambda x: torch.randn(x.shape, generator=stream).to(x),
        )  # fmt: skip
        for moment in way:
            self._bench.breathe()
            if moment.step in self._kept:
                where.append(moment.x)
        seen = [
            torch.cat([points, field_of(predict, self._schedule, grid, time)]).float().cpu().numpy().tobytes()
            for points, time in zip(where, self._times, strict=True)
        ]
        if self._bench.accelerator.is_main_process:
            append_record(self._bench.run.path, self._toy, step, seen)
        return energy_distance(where[-1].cpu(), self._goal)

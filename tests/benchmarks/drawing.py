"""What keeping a trajectory costs the sampler, on the digits that ship: `python -m tests.benchmarks.drawing`."""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from engine.contract.drawing_plan import How, Shot
from engine.contract.image_settings import ImageModel
from engine.contract.trajectory import About
from engine.diffusion.exposure import expose
from engine.diffusion.film import begin_film
from engine.diffusion.painters import Painter
from engine.diffusion.pipelines import open_painter
from engine.diffusion.stepping import Moment
from engine.starting.resolution import SHIPPED

ROUNDS = 20
CPU = torch.device("cpu")


def measured(painter: Painter, steps: int, count: int) -> tuple[float, float]:
    """Of the processor: seconds for drawing `count` digits, and for keeping their trajectory meanwhile.

    Both in one drawing: the difference of two is lost in what else the machine does.
    """
    how = How("", None, "ddim", steps, 0.0, 1.0, "", None, None)
    shots = [Shot(str(index), {}, 0, index, None, None) for index in range(count)]
    kept = min(8, count)
    about = About(
        what="", sampler="ddim", steps=steps, count=kept, width=8, height=8, seeds=(0,) * kept, model=""
    )  # fmt: skip
    spent = 0.0
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        film = begin_film(Path(folder), about, painter.look)
        spent += time.process_time() - started

        def watch(moment: Moment) -> None:
            nonlocal spent
            before = time.process_time()
            film.watch(moment)
            spent += time.process_time() - before

        expose(painter, how, shots, CPU, watch)
        return time.process_time() - started - spent, spent


def main() -> None:
    torch.set_num_threads(1)
    path = str(SHIPPED / "digits-denoiser")
    painter = open_painter(ImageModel(path=path), path, device=CPU, dtype=torch.float32)
    print(f"{'':>21}  drawing  trajectory   costs   (processor time, medians of {ROUNDS})")
    for steps, count in ((20, 1), (20, 16)):
        rounds = [measured(painter, steps, count) for _ in range(ROUNDS)]
        drawing, keeping = (statistics.median(each) for each in zip(*rounds, strict=True))
        cost = keeping / drawing
        print(f"{count:>3} digits, {steps:>3} steps  {drawing * 1e3:4.0f} ms  {keeping * 1e3:7.1f} ms  {cost:6.1%}")


if __name__ == "__main__":
    main()

"""Images of a run as files: sheets of many beside each other, each told as an event."""

import time

from PIL import Image, ImageDraw
from torch import Tensor

from engine.contract import events
from engine.contract.run_dir import RunDir
from engine.reporting import Reporter

#: A sheet's images are made larger, by whole pixels, until they are about this high.
LEGIBLE = 48
#: Pixels between two images of a sheet, and their grey.
GAP, GREY = 2, 128
#: Height and width of a scatter, what stays free around it, and the radius of a dot, pixels.
SCATTER, MARGIN, DOT = 480, 12, 3
#: Of classes: Tol's muted scheme, which is told apart by those who see few colours, and black for the tenth.
COLOURS = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933"),
    *("#ddcc77", "#cc6677", "#882255", "#aa4499", "#000000"),
)


def as_bytes(images: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] as (N, H, W, C) bytes; what is beyond is cut, and what is no number black."""
    scaled = (images.detach().float().cpu().nan_to_num(-1.0).clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().permute(0, 2, 3, 1).contiguous()


def sheet(images: Tensor, columns: int) -> Image.Image:
    """Images (N, C, H, W) in [-1, 1] in rows of `columns`."""
    pixels = as_bytes(images)
    count, height, width, channels = pixels.shape
    times = max(1, LEGIBLE // height)
    rows = -(-count // columns)
    mode = "RGB" if channels == 3 else "L"
    size = (columns * (width * times + GAP) - GAP, rows * (height * times + GAP) - GAP)
    found = Image.new(mode, size, (GREY,) * 3 if mode == "RGB" else GREY)
    for place, each in enumerate(pixels.numpy()):
        one = Image.fromarray(each if mode == "RGB" else each[:, :, 0], mode)
        at = ((place % columns) * (width * times + GAP), (place // columns) * (height * times + GAP))
        found.paste(one.resize((width * times, height * times), Image.Resampling.NEAREST), at)
    return found


def scatter(points: Tensor, classes: Tensor) -> Image.Image:
    """Points (N, 2), each in the colour of its class, (N,); grey where it has none, -1. White ground, no axes: only
    what lies near what means something."""
    found = Image.new("RGB", (SCATTER, SCATTER), (255, 255, 255))
    pen = ImageDraw.Draw(found)
    low, high = points.amin(0), points.amax(0)
    places = (points - low) / (high - low).clamp(min=1e-12) * (SCATTER - 2 * MARGIN) + MARGIN
    for (x, y), label in zip(places.tolist(), classes.tolist(), strict=True):
        colour = COLOURS[label % len(COLOURS)] if label >= 0 else "#808080"
        pen.ellipse((x - DOT, SCATTER - y - DOT, x + DOT, SCATTER - y + DOT), fill=colour)
    return found


def keep_picture(picture: Image.Image, *, run: RunDir, reporter: Reporter, step: int, role: str) -> None:
    """Put it into the run's images/ as <role>-<step>.png, and tell it as an `image` event."""
    path = run.path / "images" / f"{role}-{step:06d}.png"
    path.parent.mkdir(exist_ok=True)
    staging = path.with_suffix(".tmp")
    picture.save(staging, "PNG")
    staging.rename(path)
    reporter.event(events.Image(step=step, time=time.time(), path=f"images/{path.name}", role=role))

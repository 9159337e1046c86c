"""Pairs of pictures, one preferred: from rows, in the forms they come in, to what a network denoises.

    {prompt | class, chosen, rejected}               pictures as paths beside the file, as labelling sets give them
    {caption | prompt, jpg_0, jpg_1, label_0}        Pick-a-Pic's columns: paths, bytes, base64, or as `datasets` has it

A row that cannot be used costs that row: it is told by number and reason. Nothing is fetched.
"""

import base64
import binascii
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.contract import settings
from engine.contract.image_settings import ImageSource
from engine.data.files import reader_of
from engine.data.left_out import LeftOut, Reasons
from engine.data.rows import Row, UnusableRow
from engine.diffusion.image_files import UnusableImageError, read_image
from engine.diffusion.image_sources import ImageDataError
from engine.diffusion.tuned import Prompt

SIDES = ("jpg_0", "jpg_1")


@dataclass(frozen=True)
class PicturePairs:
    """Of N pairs. chosen, rejected: (N, C, H, W) bytes. groups: pairs of one group are held out together.

    left_out: rows that cannot be used, by reason.
    """

    prompts: list[Prompt]
    chosen: Tensor
    rejected: Tensor
    groups: list[str]
    left_out: LeftOut

    def __len__(self) -> int:
        return len(self.prompts)

    def at(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Chosen and rejected pictures, (n, C, H, W) float32 in [-1, 1] each."""
        both = self.chosen[list(places)], self.rejected[list(places)]
        return both[0].float() / 127.5 - 1, both[1].float() / 127.5 - 1

    def only(self, places: Sequence[int]) -> "PicturePairs":
        """Those at these places alone."""
        some = list(places)
        return replace(
            self,
            prompts=[self.prompts[place] for place in some],
            chosen=self.chosen[some],
            rejected=self.rejected[some],
            groups=[self.groups[place] for place in some],
        )


def read_pairs(
    sources: Sequence[ImageSource], shape: tuple[int, int, int], breathe: Callable[[], None]
) -> PicturePairs:
    """The pairs of all sources, pictures brought to `shape`. Raises DataError, ImageDataError if there is none."""
    prompts, groups, pictures, useless = list[Prompt](), list[str](), list[Tensor](), Reasons()
    for source in sources:
        folder = Path(source.path).parent
        for count, line in enumerate(reader_of(settings.Source(path=source.path, split=source.split)).lines()):
            breathe()
            if source.rows is not None and count == source.rows:
                break
            try:
                row = _canonical(line.row, folder)
                both = [read_image(data, shape)[0] for data in (row.chosen, row.rejected)]
            except (UnusableRow, UnusableImageError) as why:
                useless.add(str(why), line.number)
                continue
            prompts.append(row.prompt)
            groups.append(row.group)
            pictures += both
    if not pictures:
        reasons = ", ".join(f"{why} ({len(rows)} rows)" for why, rows in useless.found.items()) or "they are empty"
        raise ImageDataError(f"data.train: no pair of pictures can be learned from: {reasons}")
    whole = torch.stack(pictures)
    return PicturePairs(prompts, whole[::2], whole[1::2], groups, useless.found)


class _Judged(NamedTuple):
    """A row in the one form that methods know. chosen, rejected: the bytes of a picture. group: see `PicturePairs`."""

    prompt: Prompt
    chosen: bytes
    rejected: bytes
    group: str


def _canonical(row: Row | str, folder: Path) -> _Judged:
    """Raises UnusableRow."""
    if isinstance(row, str):
        raise UnusableRow(row)
    sides = _sides(row)
    chosen, rejected = (_bytes(row.get(side), side, folder) for side in sides)
    if chosen == rejected:
        raise UnusableRow("has the same picture twice")
    label, caption = row.get("class"), row.get("caption") or row.get("prompt")
    prompt: Prompt = label if isinstance(label, int) else caption if isinstance(caption, str) else None
    return _Judged(prompt, chosen, rejected, str(row.get("group") or _fingerprint(chosen, rejected)))


def _fingerprint(chosen: bytes, rejected: bytes) -> str:
    """The same for the same two pictures, whichever was chosen and wherever their file lies."""
    return hashlib.sha256(min(chosen, rejected) + max(chosen, rejected)).hexdigest()


def _sides(row: Row) -> tuple[str, str]:
    """The columns of the chosen and the rejected picture. Raises UnusableRow."""
    if not all(side in row for side in SIDES):
        return "chosen", "rejected"
    label = row.get("label_0")
    if label not in (0, 1):
        raise UnusableRow("says of neither picture that it is better (`label_0` is neither 0 nor 1)")
    return SIDES if label == 1 else (SIDES[1], SIDES[0])


def _bytes(value: Any, side: str, folder: Path) -> bytes:
    """Of a picture, however a table has it. Raises UnusableRow."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if hasattr(value, "save"):  # what `datasets` decoded
        written = io.BytesIO()
        value.save(written, format="PNG")
        return written.getvalue()
    if not isinstance(value, str) or not value:
        raise UnusableRow(f"has no picture in `{side}`")
    if "://" in value:
        raise UnusableRow(f"has only an address in `{side}`, and nothing is fetched")
    return _of_text(value, side, folder)


def _of_text(value: str, side: str, folder: Path) -> bytes:
    """Of a path, or of base64. Raises UnusableRow."""
    try:
        return (folder / value).read_bytes()
    except (OSError, ValueError):  # ValueError, for one: base64 is no path
        pass
    try:
        return base64.b64decode(value.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnusableRow(f"has in `{side}` neither a file that is there nor base64") from error

"""Judged pictures in the columns of Pick-a-Pic (Kirstain et al. 2023, arXiv:2305.01569), out and in.

    caption, jpg_0, jpg_1, label_0, label_1 [, has_label, are_different, image_0_uid, image_1_uid, best_image_uid]

label_0 is 1 where the first picture is better, 0 where the second is, 0.5 where both are alike. The columns are called
jpg whatever the pictures are: a PNG stays one, as trainers open the bytes. Nothing is fetched: where a row has only the
address of a picture, the row is left out and told.
"""

import base64
import binascii
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine.contract.labels import Candidate, Item, Judgement
from engine.contract.labels_standing import pairs
from engine.contract.labels_use import LabelUse, is_used
from engine.data.rows import Row, UnusableRow
from engine.labelling import pictures
from engine.labelling.items import identity
from engine.labelling.rows import noise_group

NAME = "pick_a_pic"
SIDES = ("jpg_0", "jpg_1")
LABELS = {1.0: ((0,), (1,)), 0.0: ((1,), (0,)), 0.5: ((0, 1),)}
#: What stands before base64 in a data: address.
DATA = "base64,"


# ------------------------------------------------------------------------------------------------------------- out


def export_rows(items: Sequence[Item], judgements: Sequence[Judgement], use: LabelUse) -> list[Row]:
    """A row for each two pictures that a judgement compares, the pictures as paths within the set."""
    known = {item.id: item for item in items}
    found: list[Row] = []
    for judgement in judgements:
        item = known.get(judgement.item)
        if item is not None and item.gold is None and judgement.outcome == "ranked" and is_used(judgement, use):
            found += _compared(item, judgement, use)
    return found


def _compared(item: Item, judgement: Judgement, use: LabelUse) -> Iterator[Row]:
    tied = [
        (one, other) for group in judgement.ranking for place, one in enumerate(group) for other in group[place + 1 :]
    ]
    told = [*((*pair, 1.0) for pair in pairs(judgement)), *((*pair, 0.5) for pair in tied if use.ties == "soft")]
    for better, worse, label in told:
        first, second = sorted((better, worse))
        two = item.candidates[first].image, item.candidates[second].image
        if None in two:
            continue
        first_label = label if first == better else 1 - label
        names = [Path(str(name)).stem for name in two]
        yield {
            "caption": item.prompt if isinstance(item.prompt, str) else item.prompt[-1]["content"],
            "jpg_0": two[0],
            "jpg_1": two[1],
            "label_0": first_label,
            "label_1": 1 - first_label,
            "has_label": True,
            "are_different": label != 0.5,
            "image_0_uid": names[0],
            "image_1_uid": names[1],
            "best_image_uid": "tie" if label == 0.5 else names[0 if first_label else 1],
            "group": noise_group(item),
        }


def placed(rows: list[Row], folder: Path, dest: Path, *, embedded: bool, as_text: bool) -> list[Row]:
    """The rows with their pictures: as bytes (as base64 where a text is wanted), or as files beside the table.

    Raises OSError of a picture that is gone.
    """
    made = []
    for row in rows:
        data = {side: (folder / row[side]).read_bytes() for side in SIDES}
        if embedded:
            values: Row = {side: base64.b64encode(one).decode() if as_text else one for side, one in data.items()}
        else:
            values = {side: row[side] for side in SIDES}
            for side, one in data.items():
                (dest / row[side]).parent.mkdir(parents=True, exist_ok=True)
                (dest / row[side]).write_bytes(one)
        made.append({**row, **values})
    return made


# -------------------------------------------------------------------------------------------------------------- in


class Found(NamedTuple):
    """A judged pair of a file. data: the bytes of each candidate's picture."""

    item: Item
    ranking: tuple[tuple[int, ...], ...]
    data: tuple[bytes, ...]


def is_one(row: Row) -> bool:
    """Whether a row has the columns of this format."""
    return SIDES[0] in row and SIDES[1] in row


def read(row: Row, folder: Path) -> Found:
    """The judged pair that a row tells. folder: where pictures that are files are looked for.

    Raises UnusableRow of a row without a label, or with a picture that cannot be used.
    """
    data = [_bytes(row.get(side), side, folder) for side in SIDES]
    names = [_name(one, side) for one, side in zip(data, SIDES, strict=True)]
    if names[0] == names[1]:
        raise UnusableRow("has the same picture twice")
    label = _label(row)
    # In the order of their hashes, so that neither the file nor a screen gives away which one is better.
    order = sorted((0, 1), key=lambda side: names[side])
    candidates = tuple(Candidate(image=names[side]) for side in order)
    caption = str(row.get("caption") or row.get("prompt") or "")
    item = Item(id=identity(caption, [names[side] for side in order]), prompt=caption, candidates=candidates)
    ranking = tuple(tuple(order.index(side) for side in group) for group in LABELS[label])
    return Found(item, ranking, tuple(data[side] for side in order))


def _label(row: Row) -> float:
    try:
        label = float(row.get("label_0"))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UnusableRow("has no `label_0` of 0, 0.5 or 1") from error
    if label not in LABELS:
        raise UnusableRow("has no `label_0` of 0, 0.5 or 1")
    return label


def _name(data: bytes, side: str) -> str:
    try:
        suffix = pictures.suffix_of(data)
    except UnusableRow as why:
        raise UnusableRow(f"has a `{side}` that {why}") from why
    return pictures.name_of(data, suffix)


def _bytes(value: Any, side: str, folder: Path) -> bytes:
    """A picture as a table may have it: bytes, the name of a file, base64, or what `datasets` made of any of them."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if hasattr(value, "save"):
        buffer = io.BytesIO()
        value.save(buffer, format="PNG")
        return buffer.getvalue()
    if not isinstance(value, str) or not value:
        raise UnusableRow(f"has no picture in `{side}`")
    if "://" in value:
        raise UnusableRow(f"has only an address in `{side}`, and nothing is fetched")
    return _file(folder / value) or _decoded(value) or _none(side)


def _file(path: Path) -> bytes:
    """Its bytes; none of what is no file. A text of base64 may be too long to be a path."""
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return b""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.rpartition(DATA)[2], validate=True)
    except (binascii.Error, ValueError):
        return b""


def _none(side: str) -> bytes:
    raise UnusableRow(f"has in `{side}` neither a file that is there nor base64")

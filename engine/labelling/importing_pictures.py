"""Judged pictures from elsewhere as a labelling set: rows in Pick-a-Pic's columns, whose pictures the set keeps.

A row whose picture is missing, damaged or too large is left out and told; the others are taken.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.contract.faults import Fault, PresetError
from engine.contract.labels import Item, Judgement, LabelDir, LabelSet
from engine.contract.labels_log import create_set
from engine.contract.labels_plan import FIRST_ROWS, FilePlan, shortened
from engine.data import left_out
from engine.data.left_out import Reasons
from engine.data.rows import Row, UnusableRow
from engine.labelling import pick_a_pic, pictures
from engine.labelling.items import identity


def import_rows(rows: Sequence[Row], source: Path, label_dir: LabelDir, new: LabelSet) -> tuple[int, int, str]:
    """Make a new set. Returns items, judgements, and which rows were left out. Raises PresetError, OSError."""
    reasons = Reasons()
    items: dict[str, Item] = {}
    said: list[Judgement] = []
    label_dir.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-import-", dir=label_dir.path.parent) as folder:
        staging = LabelDir(Path(folder))
        for number, found in _read(rows, source, reasons):
            for candidate, data in zip(found.item.candidates, found.data, strict=True):
                pictures.keep(staging, data, Path(str(candidate.image)).suffix)
            items.setdefault(found.item.id, found.item)
            said.append(_judgement(found, source, number))
        told = _told(reasons, len(rows), source, has_some=bool(said))
        lines = "".join(f"{one.model_dump_json()}\n" for one in said)
        made = new.model_copy(update={"kind": "image"})
        create_set(label_dir.path, made, items.values(), judgements=lines, images=staging.path / pictures.FOLDER)
    return len(items), len(said), told


def look(rows: Sequence[Row], source: Path) -> FilePlan:
    """What `import_rows` would take, and the first rows without their pictures. Raises PresetError if it is nothing."""
    reasons = Reasons()
    names = [found.item.id for _, found in _read(rows, source, reasons)]
    told = _told(reasons, len(rows), source, has_some=bool(names))
    counts = {"rows": len(rows), "items": len(set(names)), "judgements": len(names)}
    first = [shortened(_without_bytes(row)) for row in rows[:FIRST_ROWS]]
    return FilePlan(format=pick_a_pic.NAME, counts=counts, left_out=told, first=first)


def _read(rows: Sequence[Row], source: Path, reasons: Reasons) -> Iterator[tuple[int, pick_a_pic.Found]]:
    """The pairs that can be used, with the numbers of their rows; the others go to `reasons`."""
    for number, row in enumerate(rows, start=1):
        try:
            yield number, pick_a_pic.read(row, source.parent)
        except UnusableRow as why:
            reasons.add(str(why), number)


def _told(reasons: Reasons, total: int, source: Path, *, has_some: bool) -> str:
    if not has_some:
        problem = f"no row can be used: {left_out.reasons(reasons.found)}" if total else "has no rows"
        raise PresetError(str(source), [Fault((), "", problem, "mend it, or choose another file")])
    return left_out.told(reasons.found, total, "rows")


def _judgement(found: pick_a_pic.Found, source: Path, number: int) -> Judgement:
    name = identity(found.item.id, source.name, number)
    return Judgement(
        id=name, item=found.item.id, labeller=source.name, ranking=found.ranking, shown=(0, 1), time=time.time()
    )


def _without_bytes(row: Row) -> Row:
    """A row for somebody to look at: of a picture within it, how large it is."""
    return {name: _shown(value) if name in pick_a_pic.SIDES else value for name, value in row.items()}


def _shown(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return f"a picture of {len(value)} bytes"
    return value if isinstance(value, str) else "a picture"

"""A labelling set as files that `datasets.load_dataset`, and so TRL and most others, read; with a card."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from engine.contract.faults import Fault, PresetError, one_of
from engine.contract.labels import Item, Judgement, LabelDir
from engine.contract.labels_formats import Pictures
from engine.contract.labels_log import fingerprint, read_guideline, read_items, read_ledger, read_set
from engine.contract.labels_plan import FIRST_ROWS, FilePlan, shortened
from engine.contract.labels_use import LabelUse
from engine.data.split import is_held_out
from engine.labelling import pick_a_pic
from engine.labelling.export_rows import FORMATS, Style, export_rows
from engine.labelling.label_card import card
from engine.labelling.rows import Row

FileKind = Literal["jsonl", "parquet"]
NATIVE = "native"


@dataclass(frozen=True)
class Wish:
    """How a set is to be exported. held_out: share of the prompts that go into a test split; none for 0."""

    format: str = "preference"
    style: Style = "as-is"
    file: FileKind = "jsonl"
    held_out: float = 0.0
    pictures: Pictures = "embedded"
    seed: int = 0
    use: LabelUse = field(default_factory=LabelUse)


@dataclass(frozen=True)
class Exported:
    """Where it is, and the rows of each split."""

    path: Path
    splits: dict[str, int]


def export_set(label_dir: LabelDir, dest: Path, wish: Wish) -> Exported:
    """Write the set to the new folder `dest`, whole or not at all. Raises PresetError, OSError."""
    if faults := [*_faults_of(wish), *_fault_of_dest(dest)]:
        raise PresetError(str(label_dir.path), faults)
    staging = dest.with_name(f".new-{dest.name}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        splits = _native(label_dir, staging) if wish.format == NATIVE else _rows(label_dir, staging, wish)
        staging.rename(dest)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Exported(dest, splits)


def look(label_dir: LabelDir, dest: Path | None, wish: Wish) -> FilePlan:
    """What `export_set` would write, and the first rows of it. dest: None where nobody has chosen a folder yet.

    Raises PresetError with every fault.
    """
    if faults := [*_faults_of(wish), *([] if dest is None else _fault_of_dest(dest))]:
        raise PresetError(str(label_dir.path), faults)
    if wish.format == NATIVE:
        items, standing = read_items(label_dir), read_ledger(label_dir)[0].standing()
        first = [shortened(item.model_dump(include={"prompt", "candidates"})) for item in items[:FIRST_ROWS]]
        return FilePlan(format=NATIVE, counts={"items": len(items), "judgements": len(standing)}, first=first)
    splits = _splits(label_dir, wish)
    first = [shortened(row) for row in next(iter(splits.values()))[:FIRST_ROWS]]
    return FilePlan(format=wish.format, counts={name: len(rows) for name, rows in splits.items()}, first=first)


def _faults_of(wish: Wish) -> list[Fault]:
    known = [NATIVE, pick_a_pic.NAME, *FORMATS]
    if wish.format not in known:
        return [Fault(("--format",), wish.format, "is not a format of a labelling set", one_of(wish.format, known))]
    styles = ["as-is", *(FORMATS[wish.format].styles if wish.format in FORMATS else ())]
    if wish.style in styles:
        return []
    return [Fault(("--style",), wish.style, f"is no style of {wish.format}", one_of(wish.style, styles))]


def _fault_of_dest(dest: Path) -> list[Fault]:
    return [Fault(("dest",), str(dest), "is there already", "name a new folder")] if dest.exists() else []


def _native(label_dir: LabelDir, dest: Path) -> dict[str, int]:
    """The set itself, all that was ever said in it included."""
    for file in (label_dir.settings, label_dir.guideline, label_dir.items, label_dir.judgements, label_dir.votes):
        if file.exists():
            shutil.copyfile(file, dest / file.name)
    for folder in label_dir.path.glob("images"):
        shutil.copytree(folder, dest / folder.name)
    return {"items": len(read_items(label_dir))}


def _rows(label_dir: LabelDir, dest: Path, wish: Wish) -> dict[str, int]:
    """Raises PresetError if the set has nothing to write."""
    splits = _splits(label_dir, wish)
    if wish.format == pick_a_pic.NAME:
        as_text = wish.file == "jsonl"
        place = partial(pick_a_pic.placed, embedded=wish.pictures == "embedded", as_text=as_text)
        splits = {name: place(found, label_dir.path, dest) for name, found in splits.items()}
    files = {name: _write(found, dest, name, wish) for name, found in splits.items()}
    text = card(
        read_set(label_dir), read_items(label_dir), read_ledger(label_dir)[0], files=files, format=wish.format,
        guideline=read_guideline(label_dir), sha256=fingerprint(label_dir),
    )  # fmt: skip
    (dest / "README.md").write_text(text, "utf-8")
    return {name: len(found) for name, found in splits.items()}


def _splits(label_dir: LabelDir, wish: Wish) -> dict[str, list[Row]]:
    """The rows of each split. Raises PresetError if one would be empty."""
    items = read_items(label_dir)
    settled: Sequence[Judgement] = read_ledger(label_dir)[0].settled()
    rows = _rows_of(wish, items, settled)
    splits = _split(rows, wish)
    if not all(splits.values()):
        empty = next(name for name, found in splits.items() if not found)
        problem = f"nothing was judged that {wish.format} could tell, of {len(settled)} judgements"
        if len(splits) > 1 and rows:
            problem = f"{wish.held_out:g} of {len(rows)} rows leaves nothing for {empty}"
        raise PresetError(
            str(label_dir.path), [Fault(("--format",), "", problem, "judge more, or choose another format")]
        )
    return splits


def _rows_of(wish: Wish, items: Sequence[Item], settled: Sequence[Judgement]) -> list[Row]:
    if wish.format == pick_a_pic.NAME:
        return pick_a_pic.export_rows(items, settled, wish.use)
    return export_rows(wish.format, items, settled, wish.use, wish.style)


def _split(rows: list[Row], wish: Wish) -> dict[str, list[Row]]:
    if not wish.held_out:
        return {"train": rows}
    found: dict[str, list[Row]] = {"train": [], "test": []}
    for row in rows:
        key = {"prompt": row.get("group", row)}
        found["test" if is_held_out(key, share=wish.held_out, seed=wish.seed) else "train"].append(row)
    return found


def _write(rows: list[Row], dest: Path, split: str, wish: Wish) -> str:
    """The name of the file the rows are in."""
    if wish.file == "parquet":
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), dest / f"{split}.parquet")
        return f"{split}.parquet"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (dest / f"{split}.jsonl").write_text(text, "utf-8", newline="")
    return f"{split}.jsonl"

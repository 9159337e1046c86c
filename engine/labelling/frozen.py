"""A run keeps what it learned from: the judgements that stood when it started, whatever is said later.

RUN_DIR/labels/<set>/set.yaml, guideline.md, items.jsonl, judgements.jsonl   what was used, as a set of its own
                     images/                                                 the pictures of those items
                     train-0.jsonl                                           the rows that the first source gives
"""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from engine.contract.faults import from_validation, one_of
from engine.contract.labels import Item, Judgement, LabelDir, LabelSet
from engine.contract.labels_log import (
    create_set,
    fingerprint,
    list_sets,
    read_guideline,
    read_items,
    read_ledger,
    read_set,
)
from engine.contract.labels_use import SCHEME, LabelUse
from engine.contract.preset import AnySource, Preset, data_of, sources_of
from engine.contract.run_dir import RunDir, read_json, write_json
from engine.labelling import pictures
from engine.labelling.rows import Learned, learn


class LabelsError(ValueError):
    """A labelling set that cannot be learned from: one sentence, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def find_set(source: AnySource, labels: Path) -> LabelDir:
    """The set that `labels:<set>` names, among those in the folder. Raises LabelsError."""
    name = source.path.removeprefix(SCHEME)
    known = {found.path.name: found for found in list_sets(labels)}
    if name not in known:
        remedy = one_of(name, sorted(known)) if known else f"there are none in {labels}; make one, or use a file"
        raise LabelsError("is not a labelling set", remedy)
    return known[name]


def learned(
    source: AnySource, labels: Path, method: str, why_no_picture: Callable[[Path, str], str] = pictures.why_gone
) -> Learned:
    """The rows that the source gives `method` now, of which there is one at least. Raises LabelsError.

    why_no_picture: looks at a picture, given the set's folder and its path there; see `pictures`.
    """
    label_dir = find_set(source, labels)
    try:
        use = LabelUse.model_validate(source.options)
    except ValidationError as error:
        fault = from_validation(error, LabelUse, source.options)[0]
        raise LabelsError(f"options.{fault.dotted} {fault.problem}", fault.remedy) from error
    try:
        _, items = read_set(label_dir), read_items(label_dir)
    except ValueError as error:  # PresetError, or a damaged item; both say where
        problem, _, remedy = " ".join(str(error).split()).partition("; ")
        raise LabelsError(problem, remedy) from error
    settled = read_ledger(label_dir)[0].settled()
    found = learn(items, settled, method, use, partial(why_no_picture, label_dir.path))
    if found.rows:
        found.rows = found.rows[: source.rows]
        return found
    if not found.left_out:
        raise LabelsError("has no judgements yet", "judge some of it first")
    raise LabelsError(f"has nothing that {method} can learn from: {found.told()}", "judge more of it")


def freeze(run: RunDir, preset: Preset, labels: Path) -> None:
    """Copy what the preset uses of labelling sets into the new run, with their hashes. Raises LabelsError, OSError."""
    notes = {}
    for which, number, source in _label_sources(preset):
        label_dir, found = find_set(source, labels), learned(source, labels, preset.method, pictures.why_not)
        copy = LabelDir(_copies(run) / label_dir.path.name)
        if not copy.path.exists():
            _copy(label_dir, copy)
        rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows)
        (copy.path / f"{which}-{number}.jsonl").write_text(rows, "utf-8")
        notes[source.path] = {
            "sha256": fingerprint(label_dir),
            "judgements": len(found.used),
            "rows": len(found.rows),
            "left_out": found.left_out,
            "copy": copy.path.relative_to(run.path).as_posix(),
        }
    if notes:
        write_json(run.environment, read_json(run.environment) | {"labels": notes})


def with_frozen(preset: Preset, run: RunDir) -> Preset:
    """The preset with the run's own copies in place of labelling sets, so that a resumed run learns from the same."""
    train, held_out = list(sources_of(preset, "train")), list(sources_of(preset, "eval"))
    for which, number, source in _label_sources(preset):
        copy = _copies(run) / source.path.removeprefix(SCHEME) / f"{which}-{number}.jsonl"
        sources = train if which == "train" else held_out
        sources[number] = source.model_copy(update={"path": str(copy), "options": {}})
    data = data_of(preset)
    if data is None or (train == sources_of(preset, "train") and held_out == sources_of(preset, "eval")):
        return preset
    own = data.model_copy(update={"train": train, "eval": held_out or None})
    return preset.model_copy(update={"data": own})


def _label_sources(preset: Preset) -> Iterator[tuple[str, int, AnySource]]:
    for which in ("train", "eval"):
        for number, source in enumerate(sources_of(preset, which)):
            if source.path.startswith(SCHEME):
                yield which, number, source


def _copies(run: RunDir) -> Path:
    return run.path / "labels"


def _copy(label_dir: LabelDir, copy: LabelDir) -> None:
    """The set with the judgements that stand, and the items they are of."""
    settled: list[Judgement] = read_ledger(label_dir)[0].settled()
    judged = {judgement.item for judgement in settled}
    items: list[Item] = [item for item in read_items(label_dir) if item.id in judged]
    made: LabelSet = read_set(label_dir)
    copy.path.parent.mkdir(exist_ok=True)
    lines = "".join(f"{judgement.model_dump_json()}\n" for judgement in settled)
    create_set(copy.path, made, items, guideline=read_guideline(label_dir), judgements=lines)
    for name in {one.image for item in items for one in item.candidates if one.image is not None}:
        if not pictures.why_gone(label_dir.path, name):
            (copy.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(label_dir.path / name, copy.path / name)

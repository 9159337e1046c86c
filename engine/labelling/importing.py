"""What others wrote as a labelling set of our own: items, and the judgements that the file tells."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from engine.contract import settings
from engine.contract.faults import Fault, PresetError, one_of
from engine.contract.labels import Candidate, Item, Judgement, LabelDir, LabelSet, Ranking
from engine.contract.labels_formats import ImportFormat
from engine.contract.labels_log import create_set, read_guideline, read_items, read_ledger, read_set
from engine.contract.labels_plan import FIRST_ROWS, FilePlan, shortened
from engine.data.formats import canonical
from engine.data.rows import UnusableRow
from engine.data.sources import DataError, Row, load_rows
from engine.labelling import importing_pictures, pick_a_pic
from engine.labelling.items import answer_text, as_prompt, grouped, identity

#: What can be read besides the folder of a set. `preference` is also what is implicit, conversational, HH or OpenRLHF.
FORMATS = tuple(name for name in get_args(ImportFormat) if name != "auto")

Read = tuple[Item, list[Judgement]]


class Imported(NamedTuple):
    """What a new set has. left_out: which rows of the file could not be used and why, in words."""

    items: int
    judgements: int
    left_out: str = ""


def import_set(source: Path, label_dir: LabelDir, new: LabelSet, *, format: str = "auto") -> Imported:
    """Make a new set out of a file, or of the folder of a set.

    Raises PresetError with the row, and the columns it has, if they are not those of the format; OSError.
    """
    if LabelDir(source).settings.is_file():
        return _import_native(LabelDir(source), label_dir, new)
    rows, form = _rows_of(source, format)
    if form == pick_a_pic.NAME:
        return Imported(*importing_pictures.import_rows(rows, source, label_dir, new))
    return _make(label_dir, new, _read_texts(rows, form, source), "")


def look(source: Path, format: str = "auto") -> FilePlan:
    """What `import_set` would read, and the first rows as they are in the file. Raises PresetError as it does."""
    if LabelDir(source).settings.is_file():
        items = _items_of(LabelDir(source))
        standing = read_ledger(LabelDir(source))[0].standing()
        first = [shortened(item.model_dump(include={"prompt", "candidates"})) for item in items[:FIRST_ROWS]]
        return FilePlan(format="native", counts={"items": len(items), "judgements": len(standing)}, first=first)
    rows, form = _rows_of(source, format)
    if form == pick_a_pic.NAME:
        return importing_pictures.look(rows, source)
    found = _read_texts(rows, form, source)
    counts = {
        "rows": len(rows),
        "items": len({item.id for item, _ in found}),
        "judgements": sum(len(said) for _, said in found),
    }
    return FilePlan(format=form, counts=counts, first=[shortened(row) for row in rows[:FIRST_ROWS]])


def _rows_of(source: Path, format: str) -> tuple[list[Row], str]:
    """The rows of the file and their format. Raises PresetError."""
    if format not in ("auto", *FORMATS):
        raise PresetError(str(source), [Fault(("--format",), format, "cannot be read", one_of(format, list(FORMATS)))])
    try:
        rows = list(load_rows([settings.Source(path=str(source))]).rows)
    except DataError as error:
        raise _refused(source, error) from error
    return rows, _recognise(rows[0]) if format == "auto" else format


def _read_texts(rows: list[Row], form: str, source: Path) -> list[Read]:
    """Raises PresetError."""
    try:
        return list(_read(rows, form, source.name))
    except UnusableRow as error:
        raise _refused(source, error) from error


def _refused(source: Path, error: ValueError) -> PresetError:
    problem, _, remedy = str(error).partition("; ")
    return PresetError(str(source), [Fault((), "", problem, remedy or REMEDY)])


REMEDY = f"rename its columns, or name the format: {', '.join(FORMATS)}"


def _recognise(row: Row) -> str:
    if pick_a_pic.is_one(row):
        return pick_a_pic.NAME
    if "fields" in row and "responses" in row:
        return "argilla"
    if "label" in row or "kto_tag" in row:
        return "kto"
    return "preference" if "chosen" in row and "rejected" in row else "ranking" if "ranks" in row else "preference"


def _make(label_dir: LabelDir, new: LabelSet, found: Iterable[Read], guideline: str) -> Imported:
    items: dict[str, Item] = {}
    judgements: list[Judgement] = []
    for item, said in found:
        items.setdefault(item.id, item)
        judgements += said
    lines = "".join(f"{judgement.model_dump_json()}\n" for judgement in judgements)
    create_set(label_dir.path, new, items.values(), guideline=guideline, judgements=lines)
    return Imported(len(items), len(judgements))


def _import_native(source: LabelDir, label_dir: LabelDir, new: LabelSet) -> Imported:
    """The set itself under its new name, with all that was ever said in it. Raises PresetError, OSError."""
    made = read_set(source).model_copy(update={"name": new.name})
    items = _items_of(source)
    said = [file.read_bytes() for file in (source.judgements, source.votes) if file.exists()]
    whole = b"".join(lines[: lines.rfind(b"\n") + 1] for lines in said).decode("utf-8", "replace")
    images = source.path / "images"
    create_set(label_dir.path, made, items, guideline=read_guideline(source), judgements=whole, images=images)
    return Imported(len(items), len(read_ledger(label_dir)[0].standing()))


def _items_of(source: LabelDir) -> list[Item]:
    """Raises PresetError, OSError."""
    try:
        return read_items(source)
    except ValueError as error:
        problem, _, remedy = str(error).partition("; ")
        raise PresetError(str(source.path), [Fault((), "", problem, remedy)]) from error


# ------------------------------------------------------------------------------------------------------------ formats


def _read(rows: list[Row], form: str, labeller: str) -> Iterator[Read]:
    """Raises UnusableRow naming the row."""
    if form == "kto":
        yield from _kto(rows, labeller)
        return
    reader = {"preference": _preference, "ranking": _ranking, "argilla": _argilla}[form]
    for number, row in enumerate(rows, start=1):
        try:
            yield reader(row, labeller)
        except UnusableRow as why:
            raise UnusableRow(f"row {number} {why}") from why


def _preference(row: Row, labeller: str) -> Read:
    pair = canonical(row, "dpo")
    texts = [answer_text(pair["chosen"]), answer_text(pair["rejected"])]
    item, order = _item(pair["prompt"], texts)
    return item, [_said(item, labeller, ((order[0],), (order[1],)), strength=_strength(pair.get("margin")))]


def _strength(margin: float | None) -> int | None:
    """The strength that asks for that margin, small or large; see `rows.MARGINS`. None where none does."""
    thirds = None if margin is None else margin * 3 if margin <= 1 else margin
    return round(thirds) if thirds in (1, 2, 3) else None


def _ranking(row: Row, labeller: str) -> Read:
    read = canonical(row, "reward_model", format="ranking")
    values = read["ranks"] if "ranks" in read else [-score for score in read["scores"]]
    item, order = _item(read["prompt"], [answer_text(answer) for answer in read["answers"]])
    together = grouped(iter(zip(values, order, strict=True)))
    return item, [_said(item, labeller, tuple(tuple(together[value]) for value in sorted(together)))]


def _argilla(row: Row, labeller: str) -> Read:
    """A record of argilla 2, or one that 1 wrote, with fields `prompt` and `response1`, … and a ranking question."""
    fields = row.get("fields")
    names = sorted(name for name in fields or {} if name.startswith("response"))
    if not isinstance(fields, dict) or "prompt" not in fields or len(names) < 2:
        raise UnusableRow("has no fields `prompt`, `response1` and `response2`")
    item, order = _item(fields["prompt"], [str(fields[name]) for name in names])
    index = dict(zip(names, order, strict=True))
    said = []
    for answers in (row["responses"] or {}).values() if isinstance(row["responses"], dict) else []:
        for response in answers or []:
            ranking = _argilla_ranking(response.get("value"), index)
            said.append(_said(item, str(response.get("user_id") or labeller), ranking))
    return item, said


def _argilla_ranking(value: Any, index: dict[str, int]) -> Ranking:
    """Names in order, or with their ranks, of which equal ones are a tie."""
    if isinstance(value, dict):
        value = [{"value": name, "rank": rank} for name, rank in zip(value["value"], value["rank"], strict=True)]
    if not isinstance(value, list) or not value:
        raise UnusableRow("has a response that ranks nothing")
    ranked = [(one, place) if isinstance(one, str) else (one["value"], one["rank"]) for place, one in enumerate(value)]
    names = {name.replace("-", ""): rank for name, rank in ranked}
    if set(names) != set(index):
        raise UnusableRow(f"ranks {', '.join(names)}, and has {', '.join(index)}")
    together = grouped((rank, index[name]) for name, rank in names.items())
    return tuple(tuple(together[rank]) for rank in sorted(together))


def _kto(rows: list[Row], labeller: str) -> Iterator[Read]:
    """What is wanted is better than what is not, of the same prompt. Where nothing is wanted, all of it is bad."""
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            read = canonical(row, "kto", format="unpaired")
        except UnusableRow as why:
            raise UnusableRow(f"row {number} {why}") from why
        found.append((identity(read["prompt"]), (read["prompt"], answer_text(read["completion"]), read["label"])))
    for together in grouped(iter(found)).values():
        labels = {text: label for _, text, label in together}
        if len(labels) < 2:
            continue
        item, order = _item(together[0][0], list(labels))
        wanted = tuple(place for place, label in zip(order, labels.values(), strict=True) if label)
        others = tuple(place for place, label in zip(order, labels.values(), strict=True) if not label)
        ranking = tuple(group for group in (wanted, others) if group)
        yield item, [_said(item, labeller, ranking if wanted else (), outcome="ranked" if wanted else "both_bad")]


# -------------------------------------------------------------------------------------------------------------- parts


def _item(prompt: Any, texts: list[str]) -> tuple[Item, list[int]]:
    """The item, and where each text went: in the order of their hashes, so that the best is not always the first."""
    if len(set(texts)) < len(texts):
        raise UnusableRow("has the same answer twice")
    places = sorted(range(len(texts)), key=lambda i: hashlib.sha256(texts[i].encode("utf-8", "replace")).digest())
    candidates = tuple(Candidate(text=texts[i]) for i in places)
    name = identity(as_prompt(prompt), [texts[i] for i in places])
    return Item(id=name, prompt=as_prompt(prompt), candidates=candidates), [places.index(i) for i in range(len(texts))]


def _said(item: Item, labeller: str, ranking: Ranking, **more: Any) -> Judgement:
    name = identity(item.id, labeller, ranking)
    return Judgement(id=name, item=item.id, labeller=labeller, ranking=ranking, time=time.time(), **more)

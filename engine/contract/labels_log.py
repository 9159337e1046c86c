"""Reading and writing a labelling set: nothing that was said is lost, and nothing unknown stops the reader."""

import gc
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError

from engine.contract import jsonl, locks
from engine.contract.faults import Fault, PresetError, from_validation
from engine.contract.labels import VERSION, Guideline, Item, Judgement, LabelDir, LabelSet, Line
from engine.contract.labels_lean import LeanReader
from engine.contract.labels_standing import Ledger
from engine.contract.strict_yaml import YamlError, dump_yaml, load_yaml

_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
#: What is read and checked in one go; line by line, 100,000 judgements would take seconds.
CHUNK = 1024 * 1024


class ReadOnlyError(OSError):
    """Nothing can be written to the set: why, and what to do."""


@dataclass(frozen=True)
class Judgements:
    """Every line there is, in order, and how many could not be read."""

    lines: list[Line]
    unreadable: int = 0


# --------------------------------------------------------------------------------------------------------- reading


def read_set(label_dir: LabelDir) -> LabelSet:
    """set.yaml. Raises PresetError, which lists every fault, and OSError.

    Of a set that a newer version wrote, what this one does not know is left out; `why_read_only` tells of it.
    """
    try:
        data, lines = load_yaml(label_dir.settings.read_text("utf-8", "replace"))
    except YamlError as error:
        fault = Fault((), "", error.problem, "mend the YAML there", error.line)
        raise PresetError(str(label_dir.settings), [fault]) from error
    try:
        return LabelSet.model_validate(_known(data))
    except ValidationError as error:
        found = [fault.at(lines) for fault in from_validation(error, LabelSet, data)]
        raise PresetError(str(label_dir.settings), found) from error


def _known(data: Any) -> Any:
    """The settings as this version knows them; of its own version nothing is dropped, so that a slip is told."""
    if not isinstance(data, dict) or not isinstance(data.get("version"), int) or data["version"] <= VERSION:
        return data
    found = LabelSet.model_construct()
    for key in [key for key in data if key not in LabelSet.model_fields]:
        data = {name: value for name, value in data.items() if name != key}
    if isinstance(protocol := data.get("protocol"), dict):
        known = type(found.protocol).model_fields
        data = {**data, "protocol": {key: value for key, value in protocol.items() if key in known}}
    return data


def why_read_only(label_dir: LabelDir, settings: LabelSet) -> str:
    """Why no judgement can be added, and what to do; empty if one can."""
    if settings.version > VERSION:
        newer = f"was made by a newer version of the workbench (format {settings.version}, this one writes {VERSION})"
        return f"{label_dir.path.name} {newer}; it opens read-only, update the workbench to judge in it"
    if not os.access(label_dir.path, os.W_OK):
        return f"{label_dir.path} cannot be written to; it opens read-only, change its permissions or copy the set"
    return ""


def read_items(label_dir: LabelDir) -> list[Item]:
    """Every item in order. Raises ValueError with the line of the first that is not one, as items never change."""
    found: list[Item] = []
    for line in jsonl.follow(label_dir.items):
        try:
            found.append(read_item(line))
        except ValueError as error:
            raise damaged_item(label_dir.items, len(found), 0, error) from error
    return found


def damaged_item(path: Path, lines_before: int, offset: int, error: ValueError) -> ValueError:
    """What to say of a line of items.jsonl that is none, counted from byte `offset`."""
    where = f"{path}, line {lines_before + 1}" + (f" after byte {offset}" if offset else "")
    problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return ValueError(f"{where}: {problem}; restore the file from a copy")


def read_item(line: bytes) -> Item:
    """The item on a line of items.jsonl. Raises ValueError."""
    try:
        return Item.model_validate_json(line)
    except ValidationError as error:
        if error.errors()[0]["type"] != "json_invalid":
            raise
    return Item.model_validate(json.loads(line))  # takes what pydantic's reader refuses: half a UTF-16 pair, escaped


def read_judgements(label_dir: LabelDir) -> Judgements:
    """All that was said, and then what models voted. What is torn or unknown is counted, its neighbours are kept."""
    found: list[Line] = []
    unreadable = 0
    lean = LeanReader()
    with without_garbage_collection():
        for path in (label_dir.judgements, label_dir.votes):
            for line in jsonl.follow(path):
                if (read := lean.read(line) or _line(line, lean)) is not None:
                    found.append(read)
                else:
                    unreadable += bool(line.strip())
    return Judgements(found, unreadable)


def read_ledger(label_dir: LabelDir) -> tuple[Ledger, Judgements]:
    """What counts, and the lines it was folded from."""
    with without_garbage_collection():
        read = read_judgements(label_dir)
        return Ledger(read.lines), read


def _line(line: bytes, lean: LeanReader) -> Line | None:
    """The line, checked in full."""
    try:
        read = _LINE.validate_json(line)
    except ValidationError:
        return None
    if isinstance(read, Judgement):
        lean.learn(read)
    return read


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Records refer to nothing that refers back; looking for that takes a third of the time of reading many.

    Afterwards they count as old, so that the next small collection does not look through all of them at once.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.unfreeze()
            gc.enable()


def fingerprint(label_dir: LabelDir) -> str:
    """SHA-256 over items, judgements and votes as they stand: two equal ones are the same labels."""
    digest = hashlib.sha256()
    for file in (label_dir.items, label_dir.judgements, *([label_dir.votes] if label_dir.votes.exists() else [])):
        digest.update(file.read_bytes() if file.exists() else b"")
        digest.update(b"\0")
    return digest.hexdigest()


def list_sets(labels: Path) -> list[LabelDir]:
    """Every labelling set in a folder, by name."""
    try:
        entries = sorted(path for path in labels.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    return [LabelDir(path) for path in entries if LabelDir(path).settings.is_file()]


# --------------------------------------------------------------------------------------------------------- writing


def create_set(
    path: Path,
    settings: LabelSet,
    items: Iterable[Item] = (),
    *,
    guideline: str = "",
    judgements: str = "",
    images: Path | None = None,
) -> LabelDir:
    """A new set at `path`, whole or not at all. judgements: lines of a log that is taken over. images: a folder that is
    copied to where items of pictures look for theirs.

    Raises FileExistsError, OSError, ValueError for equal ids.
    """
    if path.exists():
        raise FileExistsError(f"{path}: there is something already; choose another name")
    lines: dict[str, str] = {}
    for item in items:
        if item.id in lines:
            raise ValueError(f"item {item.id!r} is given twice; every item needs an id of its own")
        lines[item.id] = item.model_dump_json()
    staging = LabelDir(path.with_name(f".new-{os.getpid()}-{path.name}"))
    try:
        staging.path.mkdir(parents=True, exist_ok=True)
        _write_durably(staging.items, "".join(f"{line}\n" for line in lines.values()))
        _write_durably(staging.guideline, guideline)
        _write_durably(staging.settings, dump_yaml(settings.model_dump(mode="json")))
        _write_durably(staging.judgements, judgements)
        if images is not None and images.is_dir():
            shutil.copytree(images, staging.path / images.name)
        staging.path.rename(path)
    except BaseException:
        shutil.rmtree(staging.path, ignore_errors=True)
        raise
    return LabelDir(path)


def append_judgement(path: Path, line: Line) -> None:
    """Put a line at the end of judgements.jsonl or votes.jsonl; it is on the disk when this returns.

    Whole or not at all: of a line that the disk did not take, nothing stays. Raises OSError. The caller holds the lock
    of the set (`JudgementLog` does), as two at once could cut off each other's lines.
    """
    jsonl.end_torn_line(path)
    append_whole(path, line.model_dump_json())


def append_whole(path: Path, lines: str) -> None:
    """Put one or more lines at the end of a file, all of them or none; they are on the disk then. Raises OSError."""
    size = path.stat().st_size if path.exists() else 0
    try:
        jsonl.append_line(path, lines, durable=True)
    except OSError:
        if path.exists():
            os.truncate(path, size)
        raise


def drop_torn_line(path: Path) -> None:
    """Take away what a killed writer left of a line, where half a line would stop every reader."""
    if path.exists():
        with path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            tail = end - max(0, end - jsonl.LONGEST_LINE)
            file.seek(end - tail)
            file.truncate(end - tail + file.read(tail).rfind(b"\n") + 1)


class JudgementLog:
    """The one writer of a set's judgements, or of its votes: holds their lock from `open` to `close`.

    `ledger` has all that counts, up to date after each `say`. A line that could not be written changes nothing.
    """

    def __init__(self, label_dir: LabelDir, file: Path, lock: IO[bytes], ledger: Ledger, unreadable: int) -> None:
        self.label_dir = label_dir
        self.ledger = ledger
        self.unreadable = unreadable
        self._file = file
        self._lock = lock

    @classmethod
    def open(cls, label_dir: LabelDir, settings: LabelSet) -> Self:
        """Raises ReadOnlyError if the set is newer, not writable, or judged in another window; OSError otherwise."""
        in_use = f"{label_dir.path.name} is being judged in another window"
        remedy = "it opens read-only here, close it there to judge here"
        return cls._open(label_dir, settings, label_dir.judgements, label_dir.lock, f"{in_use}; {remedy}")

    @classmethod
    def open_votes(cls, label_dir: LabelDir, settings: LabelSet) -> Self:
        """For what models say, which stops nobody from judging. Raises as `open`."""
        in_use = f"another model is voting on {label_dir.path.name}; wait until it is done"
        return cls._open(label_dir, settings, label_dir.votes, label_dir.votes_lock, in_use)

    @classmethod
    def _open(cls, label_dir: LabelDir, settings: LabelSet, file: Path, lock_file: Path, in_use: str) -> Self:
        if reason := why_read_only(label_dir, settings):
            raise ReadOnlyError(reason)
        lock = locks.hold(lock_file)
        if lock is None:
            raise ReadOnlyError(in_use)
        ledger, read = read_ledger(label_dir)
        return cls(label_dir, file, lock, ledger, read.unreadable)

    def say(self, line: Line) -> None:
        """On the disk first, in the ledger second. Raises OSError; then nothing was said."""
        append_judgement(self._file, line)
        self.ledger.apply(line)

    def under_guideline(self) -> str:
        """The hash of the guideline in force, once its text is in the log. Raises OSError."""
        return self.under(read_guideline(self.label_dir))

    def under(self, text: str) -> str:
        """The hash of a text to judge by, once it is in the log. Raises OSError."""
        sha256 = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        if sha256 not in self.ledger.guidelines:
            self.say(Guideline(sha256=sha256, text=text, time=time.time()))
        return sha256

    def close(self) -> None:
        self._lock.close()


def read_guideline(label_dir: LabelDir) -> str:
    """What people are told to look at; empty if nothing was written down."""
    try:
        return label_dir.guideline.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

"""The labelling sets of a workspace: what a list says of each, and one of them opened to be judged."""

from dataclasses import dataclass
from pathlib import Path

from engine.contract import labels_log
from engine.contract.faults import PresetError
from engine.contract.labels import LabelDir, LabelSet
from engine.contract.labels_items import ItemLines
from engine.contract.labels_log import JudgementLog, ReadOnlyError
from engine.contract.labels_order import read_order
from engine.contract.labels_recipe import Drawn, Part, Rollouts, Written, load_recipe
from engine.contract.labels_standing import Ledger
from workbench.state.label_quality import Quality, quality
from workbench.state.sitting import Sitting

READ_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Summary:
    """items, judged: how many there are, and how many of them this person has answered. answered: by any person.

    latest: seconds since 1970 of the last judgement, 0 for none. fault: why it cannot be opened, "" if it can.
    made_by: the model that drew its pictures or wrote its answers, the first of several; "" if nobody knows.
    """

    label_dir: LabelDir
    question: str
    kind: str
    items: int = 0
    judged: int = 0
    answered: int = 0
    latest: float = 0.0
    fault: str = ""
    made_by: str = ""

    @property
    def name(self) -> str:
        return self.label_dir.path.name


@dataclass
class Opened:
    """A set at hand. log: None where nothing can be added; why then says so. items: the latest that came to it."""

    label_dir: LabelDir
    sitting: Sitting
    log: JudgementLog | None
    why: str
    items: ItemLines
    guideline: str
    unreadable: int

    def close(self) -> None:
        if self.log is not None:
            self.log.close()
            self.log = None


def summarise(label_dir: LabelDir, labeller: str) -> Summary:
    """What a list says of a set; one that cannot be read says why."""
    try:
        settings = labels_log.read_set(label_dir)
        standing = Ledger(labels_log.read_judgements(label_dir).lines).standing()
        items = _count_lines(label_dir.items)
    except (PresetError, OSError) as error:
        return Summary(label_dir, "", "", fault=str(error))
    standing = [judgement for judgement in standing if not judgement.is_vote]
    judged = sum(judgement.labeller == labeller for judgement in standing)
    latest = max((judgement.time for judgement in standing), default=0.0)
    made_by = _made_by(label_dir)
    return Summary(label_dir, settings.question, settings.kind, items, judged, len(standing), latest, made_by=made_by)


def _made_by(label_dir: LabelDir) -> str:
    try:
        recipe = load_recipe(label_dir.generation / "recipe.yaml")
    except (PresetError, OSError):
        return ""
    return next(filter(None, map(_maker, recipe.parts)), "")


def _maker(part: Part) -> str:
    match part:
        case Drawn(artists=[first, *_]) | Written(writers=[first, *_]):
            return first.model
        case Rollouts(run=run):
            return run
    return ""


def stamp(label_dir: LabelDir) -> tuple[tuple[int, int], ...]:
    """Differs when the set's files do, so that a set is read again only then."""
    return tuple(map(_stamp, (label_dir.settings, label_dir.items, label_dir.judgements, label_dir.votes)))


def open_set(label_dir: LabelDir, labeller: str) -> Opened:
    """The set with a sitting of this person. Raises OSError, PresetError, ValueError where it cannot be read."""
    with labels_log.without_garbage_collection():
        return _open_set(label_dir, labeller)


def _open_set(label_dir: LabelDir, labeller: str) -> Opened:
    settings = labels_log.read_set(label_dir)
    items = ItemLines(label_dir)
    log, why, sha256 = _open_log(label_dir, settings)
    if log is not None:
        ledger, unreadable = log.ledger, log.unreadable
    else:
        read = labels_log.read_judgements(label_dir)
        ledger, unreadable = Ledger(read.lines), read.unreadable
    try:
        sitting = Sitting(settings, items, ledger, labeller, sha256, read_order(label_dir))
    except BaseException:
        if log is not None:
            log.close()
        raise
    guideline = labels_log.read_guideline(label_dir)
    return Opened(label_dir, sitting, log, why, items, guideline, unreadable)


def read_quality(label_dir: LabelDir, *, at_equal_length: bool = False) -> Quality:
    """How good its labels are. Raises OSError, ValueError where it cannot be read."""
    with labels_log.without_garbage_collection():
        ledger, _ = labels_log.read_ledger(label_dir)
        return quality(labels_log.read_items(label_dir), ledger, at_equal_length=at_equal_length)


def _open_log(label_dir: LabelDir, settings: LabelSet) -> tuple[JudgementLog | None, str, str]:
    """The log, or None and why not; and the hash of the guideline in force."""
    try:
        log = JudgementLog.open(label_dir, settings)
    except ReadOnlyError as error:
        return None, str(error), ""
    try:
        return log, "", log.under_guideline()
    except OSError as error:
        log.close()
        return None, f"{label_dir.judgements} cannot be written: {error.strerror or error}; it opens read-only", ""


def _count_lines(path: Path) -> int:
    """Whole lines of a file; 0 of none."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(READ_AT_ONCE), b""))
    except FileNotFoundError:
        return 0


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns

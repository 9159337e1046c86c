"""The pictures of a run: which there are, what varies between them, and how they lie in a grid."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.contract.events import Image
from engine.contract.image_record import ImageRecord, Scalar

#: What a picture may differ in, in the order in which a label says it, and the word for it.
SAID = {
    "prompt": "",
    "label": "class",
    "model": "model",
    "sampler": "",
    "steps": "steps",
    "eta": "eta",
    "guidance": "guidance",
    "negative_prompt": "without",
    "seed": "seed",
    "index": "no.",
}
#: Words of a prompt on a label.
LONGEST = 40
#: More columns than this are no grid that anybody reads.
MOST_COLUMNS = 64
#: A grid of more pictures takes longer to lay out than a frame lasts, and nobody sees it as one.
MOST_IN_A_GRID = 2500
Value = Scalar


class Axis(NamedTuple):
    """A setting and its values, in the order in which they came."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Plot:
    """A grid: `cells` by row and column, the place of the picture among all; None is not drawn yet."""

    columns: Axis
    rows: tuple[str, ...]
    cells: dict[tuple[int, int], int]


class Gallery:
    """All pictures in the order in which they were drawn, and what was read of them so far.

    What varies is kept up as records come: ten thousand pictures are never gone through again for one that is new.
    """

    def __init__(self) -> None:
        self.pictures: list[Image] = []
        self.records: dict[str, ImageRecord | None] = {}
        self._settings: dict[str, dict[str, Value]] = {}
        self._seen: dict[str, dict[str, Value]] = {}  # by name of a setting: its values by how they are written
        self._told_apart: set[tuple[str, ...]] = set()  # what pictures differ in beside their numbers
        self._planned: dict[str, dict[str, Value]] = {}  # by name of a file: what it will say, drawn or not
        self._classes: dict[Value, Value] = {}  # of planned pictures, by number, where the model chooses them
        self._lacks_classes = False  # some planned pictures are known by their number alone

    def follow(self, images: Sequence[Image]) -> list[str]:
        """Take over what the run has drawn by now; returns the paths not heard of before.

        A picture drawn anew under its old path takes the old one's place.
        """
        if len(images) == len(self.pictures) and (not images or images[-1] is self.pictures[-1]):
            return []
        now = {image.path: image for image in images}
        known = {image.path for image in self.pictures}
        self.pictures = list(now.values())
        if gone := known - now.keys():
            self._forget(gone)
        return [path for path in now if path not in known]

    def tell(self, records: Mapping[str, ImageRecord | None]) -> bool:
        """What pictures say of themselves; whether other settings vary now than before."""
        before = self.varying()
        self.records.update(records)
        for path, record in records.items():
            if record is not None:
                self._note(path, record)
        self._look_for_classes()
        return self.varying() != before

    def expect(self, planned: Mapping[str, dict[str, Value]]) -> None:
        """What will be drawn, by the names of the files, each with what it will say of itself as far as known."""
        self._planned = dict(planned)
        self._see_planned()

    @property
    def expected(self) -> int:
        """How many pictures there will be; 0 where nobody knows."""
        return len(self._planned)

    def roles(self) -> list[str]:
        """What kinds of pictures there are, in the order in which they came."""
        return list(dict.fromkeys(image.role for image in self.pictures))

    def of_role(self, role: str | None) -> list[Image]:
        """The pictures of one role; None for all of them."""
        return self.pictures if role is None else [image for image in self.pictures if image.role == role]

    def varying(self) -> list[str]:
        """The settings in which pictures differ, in the order a label says them."""
        needs_numbers = len(self._told_apart) < len(self._settings) or self._lacks_classes
        said = [name for name in SAID if name != "index" or needs_numbers]
        known = [name for name in said if len(self._seen.get(name, ())) > 1]
        return [*known, *(name for name, values in self._seen.items() if name not in SAID and len(values) > 1)]

    def settings(self, image: Image) -> dict[str, Value]:
        """What a picture says it was drawn with: its record's settings, and those of its place in a grid."""
        return self._settings.get(image.path, {})

    def label(self, image: Image) -> str:
        """What tells a picture from the others; its step or name where it says nothing itself."""
        settings = self.settings(image)
        words = [worded(name, settings[name]) for name in self.varying() if name in settings]
        if any(words):
            return "  ".join(word for word in words if word)
        name = image.path.rpartition("/")[2].rpartition(".")[0]
        return f"{image.role}  step {image.step:,}".strip() if image.step else name

    def axes(self) -> list[str]:
        """The settings that may be the columns of a grid: those that vary, where more than one does."""
        names = self.varying()
        if len(names) < 2 or len(self._settings) > MOST_IN_A_GRID:
            return []
        return [name for name in names if len(self._seen[name]) <= MOST_COLUMNS]

    def plot(self, images: Sequence[Image], columns: str) -> Plot:
        """The pictures as a grid: one setting across, all others that vary down. Later ones take a cell over."""
        across = Axis(columns, _in_order(self._seen.get(columns, {})))
        place = {repr(value): at for at, value in enumerate(across.values)}
        others = [name for name in self.varying() if name != columns]
        rows: dict[tuple[str, ...], int] = {}
        cells: dict[tuple[int, int], int] = {}

        def row(settings: Mapping[str, Value]) -> int:
            return rows.setdefault(tuple(worded(name, settings.get(name)) for name in others), len(rows))

        for settings in self._in_plan():
            row(settings)
        for at, image in enumerate(images):
            settings = self.settings(image)
            if columns in settings:
                cells[row(settings), place[repr(settings[columns])]] = at
        return Plot(across, tuple("\n".join(part for part in key if part) for key in rows), cells)

    def _note(self, path: str, record: ImageRecord) -> None:
        told: dict[str, Value] = {name: getattr(record, name) for name in SAID}
        told |= {name: value for name, value in record.cell.items() if name not in SAID and name != "class"}
        self._settings[path] = told
        name = path.rpartition("/")[2].rpartition(".")[0]
        if record.label is not None and "label" not in self._planned.get(name, {"label": None}):
            self._classes[record.index] = record.label
        self._told_apart.add(tuple(repr(value) for name, value in told.items() if name != "index"))
        for name, value in told.items():
            self._seen.setdefault(name, {}).setdefault(repr(value), value)

    def _forget(self, paths: Iterable[str]) -> None:
        """An earlier life drew these, and the new one has not yet."""
        for path in paths:
            self.records.pop(path, None)
        kept = {path: record for path, record in self.records.items() if record is not None}
        self._settings, self._seen, self._told_apart = {}, {}, set()
        self._see_planned()
        for path, record in kept.items():
            self._note(path, record)

    def _see_planned(self) -> None:
        for settings in self._planned.values():
            for name, value in settings.items():
                self._seen.setdefault(name, {}).setdefault(repr(value), value)
        self._look_for_classes()

    def _look_for_classes(self) -> None:
        """A number's class is known once the first picture of that number is drawn."""
        unknown = any("label" not in one and one["index"] not in self._classes for one in self._planned.values())
        self._lacks_classes = unknown and (bool(self._classes) or not self._settings)

    def _in_plan(self) -> Iterator[dict[str, Value]]:
        """What each planned picture says, or will say, in the order of the plan."""
        for name, settings in self._planned.items():
            drawn = self._settings.get(f"images/{name}.png")
            known = {"label": self._classes[settings["index"]]} if settings["index"] in self._classes else {}
            yield drawn if drawn is not None else known | settings


def _in_order(values: Mapping[str, Value]) -> tuple[Value, ...]:
    """Numbers by size, everything else as it came."""
    numbers = [value for value in values.values() if isinstance(value, int | float)]
    return tuple(sorted(numbers)) if len(numbers) == len(values) else tuple(values.values())


def worded(name: str, value: Value) -> str:
    """A setting as a label says it: "seed 3", "guidance 4", the sampler's own name."""
    if value is None or value == "":
        return ""
    word = SAID.get(name, name.replace("_", " "))
    text = f"{value:g}" if isinstance(value, float) else str(value).replace("\n", " ")
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return f"{word} {text}".strip()


def details(image: Image, record: ImageRecord | None) -> str:
    """All a picture says of how it was drawn, a line each, to be read and copied."""
    head = [f"file: {image.path}"]
    if record is None:
        return "\n".join([*head, f"step: {image.step}", *([f"kind: {image.role}"] if image.role else [])])
    told = record.model_dump(mode="json", exclude={"version"}, exclude_none=True)
    return "\n".join([*head, *(_line(name, value) for name, value in told.items() if value not in ("", {}, []))])


def _line(name: str, value: object) -> str:
    if isinstance(value, dict):
        return "\n".join([f"{name}:", *(f"  {key}: {part}" for key, part in value.items())])
    return f"{name}: {value}"

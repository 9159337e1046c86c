"""Image models draw, and their pictures become items: two models from the same noise, or one from two.

A picture is a function of its model, of how it is sampled, of seed and number and of what is asked for. It is in the
set's folder, with the record that draws it again, before an item names it; and which picture of an item comes first is
decided by their hashes, so that neither files nor order tell which model drew which.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from engine.contract.drawing_plan import How, Shot
from engine.contract.image_record import ImageRecord
from engine.contract.image_settings import ImageModel
from engine.contract.labels import Candidate, Item, LabelDir
from engine.contract.labels_recipe import Artist, Drawn
from engine.data.rows import DataError
from engine.diffusion.exposure import Exposed, expose
from engine.diffusion.painters import Painter, fingerprint
from engine.diffusion.pictures import as_bytes
from engine.diffusion.pipelines import open_painter, path_of
from engine.diffusion.png_files import png_of
from engine.diffusion.recording import Hand, record_of
from engine.labelling import pictures
from engine.labelling.from_files import prompt_text, prompts_of
from engine.labelling.items import Batch, Batches, identity
from engine.models import choose_device
from engine.reporting import Reporter


class Target(NamedTuple):
    """A pair to be drawn. label, prompt: what is asked for. numbers: of the seed's noises, one a picture of one model;
    models that are compared share them."""

    label: int | None
    prompt: str | None
    numbers: tuple[int, ...]


class Picture(NamedTuple):
    """A PNG, and what draws it again; the PNG says that too. look: a hash of its pixels alone."""

    png: bytes
    record: ImageRecord
    look: str

    @property
    def name(self) -> str:
        """Where in the set it is."""
        return pictures.name_of(self.png, ".png")


@dataclass(frozen=True)
class Easel:
    """An artist with its model open. weights: their fingerprint."""

    artist: Artist
    painter: Painter
    weights: str

    def draw(self, targets: Sequence[Target], breathe: Callable[[], None]) -> list[list[Picture | None]]:
        """For each target, a picture of each of its numbers; None of one that is not made of numbers any more."""
        asked = [(target, number) for target in targets for number in target.numbers]
        shots = [Shot("", {}, self.artist.seed, number, target.label, target.prompt) for target, number in asked]
        device = next(self.painter.network.parameters()).device
        exposed = expose(self.painter, self._how, shots, device, lambda moment: breathe())
        drawn = iter([self._picture(exposed, place, shot) for place, shot in enumerate(shots)])
        return [list(itertools.islice(drawn, len(target.numbers))) for target in targets]

    @property
    def _how(self) -> How:
        artist = self.artist
        return How(
            model=artist.model,
            checkpoint=None,
            sampler=artist.sampler,
            steps=artist.steps,
            eta=artist.eta if artist.sampler == "ddim" else 0.0,
            guidance=artist.guidance,
            negative_prompt=artist.negative_prompt,
            width=None,
            height=None,
        )

    @torch.no_grad()
    def _picture(self, exposed: Exposed, place: int, shot: Shot) -> Picture | None:
        """What stands at `place` of what was drawn at once; decoded by itself, as decoders take much memory."""
        pixels = self.painter.decode(exposed.x[place : place + 1])[0].float().cpu()
        if place in exposed.spoilt or not bool(pixels.isfinite().all()):
            return None
        hand = Hand(self.artist.model, self.weights, self.painter, exposed.x.device)
        record = record_of(hand, self._how, shot, pixels, rows=len(exposed.x), place=place)
        return Picture(
            png_of(pixels, record), record, hashlib.sha256(as_bytes(pixels.unsqueeze(0)).numpy().tobytes()).hexdigest()
        )


def open_part(
    part: Drawn, label_dir: LabelDir, made: set[str], reporter: Reporter, breathe: Callable[[], None]
) -> tuple[int, Batches]:
    """How many batches there are, and the items of each that is still to be drawn, numbered from 1.

    Raises DataError, ImageModelError.
    """
    pictures.clear_leftovers(label_dir)
    easels = _easels(part, reporter, breathe)
    targets = _targets(part, easels)
    size = max(1, part.at_once // len(targets[0].numbers))
    batches = [targets[start : start + size] for start in range(0, len(targets), size)]
    return len(batches), _drawn(part, easels, batches, label_dir, made, reporter, breathe)


def _drawn(
    part: Drawn,
    easels: list[Easel],
    batches: list[list[Target]],
    label_dir: LabelDir,
    made: set[str],
    reporter: Reporter,
    breathe: Callable[[], None],
) -> Batches:
    """A batch is drawn whole or not at all, as who stands beside a picture may round its last bit."""
    known = {name.rpartition("/")[0] for name in made}
    for number, batch in enumerate(batches, start=1):
        keys = [_key(part, target) for target in batch]
        if known.issuperset(keys):
            continue
        reporter.phase("drawing", (number - 1) / len(batches))
        drawn = [easel.draw(batch, breathe) for easel in easels]
        if any(png is None for of_easel in drawn for pngs in of_easel for png in pngs):
            what = "a picture came out as no picture: values that are no numbers"
            reporter.notice("warning", what, "its pair is left out; more steps or less guidance may help")
        compared = [
            pair
            for place, key in enumerate(keys)
            for pair in _pairs(key, batch[place], [of_easel[place] for of_easel in drawn])
        ]
        # In the order of their names: the order in which files come to be tells nothing either.
        for _, png in sorted((one.name, one.png) for pair in compared for one in pair.pictures):
            pictures.keep(label_dir, png)
        yield Batch([pair.item for pair in compared], number)


class Pair(NamedTuple):
    """An item, and the pictures it names."""

    item: Item
    pictures: tuple[Picture, Picture]


def _pairs(key: str, target: Target, groups: Sequence[Sequence[Picture | None]]) -> Iterator[Pair]:
    """Each two artists against each other, one against itself. Pictures that look the same are not compared."""
    pairs = itertools.combinations([group[0] for group in groups], 2) if len(groups) > 1 else [tuple(groups[0])]
    for place, (one, other) in enumerate(pairs):
        if one is None or other is None or one.look == other.look:
            continue
        first, second = sorted((one, other), key=lambda picture: picture.name)
        candidates = (_candidate(first), _candidate(second))
        item = Item(id=f"{key}/{place}", prompt=_asked_in_words(target), candidates=candidates)
        yield Pair(item, (first, second))


def _candidate(picture: Picture) -> Candidate:
    # What is the same for thousands of pictures stands in the PNGs alone.
    record = picture.record.model_dump(mode="json", exclude_defaults=True, exclude={"schedule", "versions"})
    return Candidate(image=picture.name, origin={"model": picture.record.model, "record": record})


def _asked_in_words(target: Target) -> str:
    if target.prompt is not None:
        return target.prompt
    return "" if target.label is None else f"class {target.label}"


# ------------------------------------------------------------------------------------------------ what is to be drawn


def _targets(part: Drawn, easels: Sequence[Easel]) -> list[Target]:
    """Every pair of every class or prompt; what is asked for comes in turn, so that a set is balanced at any time.

    Raises DataError where the models cannot be asked for it.
    """
    wanted = _wanted(part, easels)
    of_one = 2 if len(easels) == 1 else 1
    return [
        Target(label, prompt, tuple(of_one * (pair * len(wanted) + place) + one for one in range(of_one)))
        for pair in range(part.pairs)
        for place, (label, prompt) in enumerate(wanted)
    ]


def _wanted(part: Drawn, easels: Sequence[Easel]) -> list[tuple[int | None, str | None]]:
    """(class, prompt) of each thing to be drawn."""
    readers = [easel.artist.model for easel in easels if easel.painter.reads_text]
    if readers and part.prompts is None:
        raise DataError(f"{readers[0]} draws what a text says, and there is none; give the part `prompts`")
    if part.prompts is not None:
        if len(readers) < len(easels):
            other = next(easel.artist.model for easel in easels if not easel.painter.reads_text)
            raise DataError(f"{other} reads no text; leave `prompts` empty, or choose another model")
        return [(None, prompt_text(prompt)) for prompt in prompts_of(part.prompts)[0]]
    known = min(easel.painter.classes for easel in easels)
    unknown = next((label for label in part.classes or [] if label >= known), None)
    if unknown is not None:
        has = f"knows 0 to {known - 1}" if known else "knows no classes"
        few = next(easel.artist.model for easel in easels if easel.painter.classes == known)
        raise DataError(f"classes: {few} {has} (got {unknown}); ask for others, or leave it empty")
    labels: list[int | None] = list(part.classes or range(known)) or [None]
    return [(label, None) for label in labels]


def _easels(part: Drawn, reporter: Reporter, breathe: Callable[[], None]) -> list[Easel]:
    """Every artist with its model open; artists that share a model share its memory."""
    opened: dict[tuple[str, str], tuple[Painter, str]] = {}
    for artist in part.artists:
        kind = artist.model, artist.device
        if kind not in opened:
            reporter.phase(f"loading {Path(artist.model).name}")
            path, device = path_of(artist.model, None), choose_device(artist.device)
            painter = open_painter(ImageModel(path=artist.model), path, device=device, dtype=torch.float32)
            opened[kind] = painter, fingerprint(painter.network)
            breathe()
    return [Easel(artist, *opened[artist.model, artist.device]) for artist in part.artists]


def _key(part: Drawn, target: Target) -> str:
    """Names the pictures of a target before they are drawn: other settings or seeds make other items."""
    artists = [artist.model_dump(exclude={"device"}) for artist in part.artists]
    return identity(artists, target)

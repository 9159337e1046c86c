"""Small labelling sets, as a person or an engine would have made them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtGui import QImage

from engine.contract.labels import Candidate, Item, Judgement, LabelDir, LabelSet, Protocol
from engine.contract.labels_log import create_set

PAIRS = [
    (
        "Why does bread smell good when it bakes?",
        "Heat makes sugars and amino acids in the crust react, and the small molecules they form are carried off by "
        "steam. Yeast adds its own, so a loaf smells of toast, butter and a little of beer.",
        "Bread smells good because it is bread and people like bread. There are many kinds of bread in the world, and "
        "all of them can be baked in an oven, which is a hot box used for baking things such as bread.",
    ),
    (
        "How long should green tea steep?",
        "Two to three minutes, in water of about 75 °C. Longer, and it turns bitter.",
        "Green tea is a kind of tea that is green.\n\nIt should steep for some time:\n\n1. Boil the water.\n2. Put the "
        "tea in.\n3. Wait.\n4. Enjoy!",
    ),
    (
        "Give me one reason to learn to juggle.",
        "It takes ten minutes a day and nothing but three balls, and you can see yourself getting better.",
        "As a language model I cannot juggle, but juggling is a skill that many people enjoy.",
    ),
]


_NUMBERS = itertools.count()


def item(number: int, first: str, second: str, prompt: Any = "Say something.") -> Item:
    """A pair of which model A wrote the first answer and model B the second."""
    answers = (Candidate(text=first, origin={"model": "A"}), Candidate(text=second, origin={"model": "B"}))
    return Item(id=f"i{number:05d}", prompt=prompt, candidates=answers)


def pairs(count: int) -> list[Item]:
    return [item(n, first, second, prompt) for n in range(count) for prompt, first, second in [PAIRS[n % len(PAIRS)]]]


def made(
    workspace: Path, name: str = "demo", items: Sequence[Item] | int = 60, guideline: str = "", **rules: Any
) -> LabelDir:
    """A set in the workspace, ready to be judged."""
    settings = LabelSet(name=name, question="Which answer is more helpful?", protocol=Protocol.model_validate(rules))
    (workspace / "labels").mkdir(exist_ok=True)
    of = pairs(items) if isinstance(items, int) else items
    return create_set(workspace / "labels" / name, settings, of, guideline=guideline)


def drawn(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> Path:
    """A picture file of blocks of colour, another one for each seed."""
    width, height = size
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(np.kron(blocks, np.ones((height // 6, width // 8, 1), dtype=np.uint8)))
    image = QImage(pixels.data, pixels.shape[1], pixels.shape[0], 3 * pixels.shape[1], QImage.Format.Format_RGB888)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert image.save(str(path))
    return path


def made_of_pictures(
    workspace: Path, name: str = "drawn", items: int = 3, of: int = 2, size: tuple[int, int] = (64, 48), **rules: Any
) -> LabelDir:
    """A set of pictures in the workspace, drawn by models whose names stand in the files' names."""
    settings = LabelSet(
        name=name, kind="image", question="Which picture is better?", protocol=Protocol.model_validate(rules)
    )
    made_items = []
    for number in range(items):
        drawn_by = [f"images/model-{letter}-step-100-{number}.png" for letter in "ABCDEFGHI"[:of]]
        answers = tuple(Candidate(image=path, origin={"model": path[7:14]}) for path in drawn_by)
        made_items.append(Item(id=f"p{number:05d}", prompt="A lighthouse at dusk", candidates=answers))
    label_dir = create_set(workspace / "labels" / name, settings, made_items)
    for at, one in enumerate(made_items):
        for place, candidate in enumerate(one.candidates):
            drawn(label_dir.path / str(candidate.image), 10 * at + place, size)
    return label_dir


def said(of: Item, better: int | None, labeller: str = "ada", *, left: int = 0, **more: object) -> Judgement:
    """A judgement of a pair with candidate `left` on the left; better: None for a tie."""
    ranking = ((0, 1),) if better is None else ((better,), (1 - better,))
    return Judgement.model_validate(
        {
            "id": f"j{next(_NUMBERS)}",
            "item": of.id,
            "labeller": labeller,
            "ranking": ranking,
            "shown": (left, 1 - left),
            "strength": None if better is None else 1,
            "active_seconds": 4.0,
            "time": 0.0,
            **more,
        }
    )

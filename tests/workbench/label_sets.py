"""Small labelling sets, as a person or an engine would have made them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

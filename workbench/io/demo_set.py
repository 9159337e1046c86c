"""The set to try judging on: pairs that ship with the workbench, so that the first minute needs no model."""

import json
from collections.abc import Iterator
from pathlib import Path

from engine.contract.labels import Candidate, Item, LabelDir, LabelSet
from engine.contract.labels_log import create_set

NAME = "demo"
PAIRS = "preferences.jsonl"


def make_demo(folder: Path) -> LabelDir:
    """The demo set among the workspace's own. Raises FileExistsError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = LabelSet(name=NAME, question="Which answer is more helpful?")
    return create_set(folder / NAME, settings, list(_items(_data() / PAIRS)), guideline=GUIDELINE)


GUIDELINE = """\
Prefer the answer that does what was asked: right first, then complete, then short.
A wrong answer is worse than a clumsy one. Do not prefer an answer because it is longer.
If neither would help anybody, press “both bad”; if they are worth the same, “tie”.
"""


def _items(file: Path) -> Iterator[Item]:
    for number, line in enumerate(file.read_text("utf-8").splitlines()):
        row = json.loads(line)
        answers = [Candidate(text=row[side][-1]["content"]) for side in ("chosen", "rejected")]
        # Which of them is the chosen one must not show in the file either.
        yield Item(id=f"demo-{number:03d}", prompt=row["prompt"], candidates=tuple(answers[:: 1 - 2 * (number % 2)]))


def _data() -> Path:
    package = Path(__file__).resolve().parents[1]
    inside = package / "assets"
    return (inside if inside.is_dir() else package.parent / "assets") / "data"

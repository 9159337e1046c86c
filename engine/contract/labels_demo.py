"""The labelling set that ships: 60 questions, each answered twice by a small model, so that judging needs no model."""

from pathlib import Path

from engine.contract.labels import LabelDir, LabelSet
from engine.contract.labels_log import create_set, read_item

NAME = "demo"
ITEMS = Path(__file__).resolve().parents[2] / "assets" / "data" / "demo_items.jsonl"
GUIDELINE = """\
Prefer the answer that helps the person who asked more.

1. Right before wrong: an answer that is true, or comes closer, wins over one that is well written.
2. Does it do what was asked: one sentence where one was asked for, a number where a number was.
3. Then the one that is clearer and shorter.

Many of these answers stop in the middle, as the model was allowed 80 tokens; judge what is there. Where both are of no
use at all, say that both are bad; where you cannot tell them apart, call it a tie.
"""


def create_demo(labels: Path) -> LabelDir:
    """The set `demo` in the folder of sets, made if it is not there. Raises OSError."""
    label_dir = LabelDir(labels / NAME)
    if label_dir.settings.exists():
        return label_dir
    settings = LabelSet(name=NAME, question="Which answer helps more?")
    return create_set(label_dir.path, settings, map(read_item, ITEMS.read_bytes().splitlines()), guideline=GUIDELINE)

"""What large labelling sets cost: `python -m tests.benchmarks.labelling_sets`. Printed, never asserted.

Goals: a set of 100,000 items and 100,000 judgements opens in a second, and 10,000 judgements are weighed in 200 ms;
both off the thread that draws. CPU time of the fastest of some rounds, as the machine may be busy at times.
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine.contract.labels import Candidate, Item, Judgement, LabelDir, LabelSet, Protocol
from engine.contract.labels_log import create_set, read_ledger, without_garbage_collection
from engine.contract.labels_standing import Ledger
from workbench.io import label_sets
from workbench.state.label_quality import quality

LARGE = 100_000
WEIGHED = 10_000
ROUNDS = 5
LOT = random.Random(0)  # noqa: S311  any order will do
WORDS = ("rain", "falls", "soft", "on", "the", "grey", "roof", "while", "a", "kettle", "sings", "and", "cats", "sleep")


def text(words: int) -> str:
    return " ".join(LOT.choice(WORDS) for _ in range(words))


def items(count: int) -> list[Item]:
    """Pairs that two models wrote, of some 30 words an answer."""
    made = []
    for number in range(count):
        answers = [Candidate(text=text(LOT.randrange(5, 60)), origin={"model": name}) for name in ("base", "tuned")]
        made.append(Item(id=f"{number:016x}/0", prompt=f"{number}: {text(8)}", candidates=tuple(answers)))
    return made


def judgement(number: int, item: Item, labeller: str) -> Judgement:
    better, left = LOT.randrange(2), LOT.randrange(2)
    return Judgement(
        id=f"{number:032x}",
        item=item.id,
        labeller=labeller,
        ranking=((0, 1),) if number % 9 == 0 else ((better,), (1 - better,)),
        shown=(left, 1 - left),
        strength=None if number % 9 == 0 else LOT.randrange(1, 4),
        seconds=round(LOT.uniform(2, 20), 3),
        active_seconds=round(LOT.uniform(2, 20), 3),
        time=1.7e9 + number,
        guideline="a" * 64,
    )


def fastest(call: Callable[[], object]) -> float:
    """CPU seconds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return min(taken)


def opened(folder: Path) -> LabelDir:
    """A set of LARGE items, each judged once."""
    made = items(LARGE)
    label_dir = create_set(folder / "large", LabelSet(name="large", protocol=Protocol()), made)
    lines = (judgement(number, item, "ada") for number, item in enumerate(made))
    label_dir.judgements.write_text("".join(f"{line.model_dump_json()}\n" for line in lines))
    return label_dir


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        label_dir = opened(Path(folder))
        print(f"{'':44}{'CPU seconds':>12}")
        print(f"{f'read {LARGE:,} judgements':44}{fastest(lambda: read_ledger(label_dir)):12.3f}")
        print(f"{f'open {LARGE:,} items, as many judged':44}{fastest(lambda: open_and_close(label_dir)):12.3f}")
    made = items(WEIGHED // 2)
    said = [judgement(n, item, who) for who in ("ada", "bob") for n, item in enumerate(made)]
    ledger = Ledger(line.model_copy(update={"id": f"{n}"}) for n, line in enumerate(said))
    with without_garbage_collection():  # as the page reads them
        print(f"{f'statistics of {WEIGHED:,} judgements':44}{fastest(lambda: quality(made, ledger)):12.3f}")


def open_and_close(label_dir: LabelDir) -> None:
    label_sets.open_set(label_dir, "ada").close()


if __name__ == "__main__":
    main()

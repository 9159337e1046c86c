"""The completions that `samples` events point to."""

from collections.abc import Sequence
from pathlib import Path

from engine.contract.events import Samples
from engine.contract.rollouts import Completion, read_completion

#: A hostile or damaged file must not fill the memory.
LONGEST_LINE = 4 * 1024 * 1024


def read_completions(path: Path, wanted: Sequence[Samples], at_most: int = 512) -> list[Completion]:
    """The completions of `wanted`, in that order, `at_most` in all; lines that cannot be read are left out."""
    found: list[Completion] = []
    try:
        with path.open("rb") as file:
            for event in wanted:
                file.seek(max(event.offset, 0))
                for _ in range(min(event.count, at_most - len(found))):
                    completion = read_completion(file.readline(LONGEST_LINE))
                    if completion is not None:
                        found.append(completion)
    except OSError:
        return found
    return found

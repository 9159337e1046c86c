"""Prompts as tokens, with room for an answer; a run tells the first time that one has to lose its beginning."""

from collections.abc import Sequence

from engine.data.batching import rows_of_step
from engine.data.sources import Row
from engine.methods.bench import Bench


class Prompts:
    """Reads the prompts of rows. answer: tokens that an answer may have. longest: of both together."""

    def __init__(self, bench: Bench, *, answer: int, longest: int) -> None:
        self._bench, self._answer, self._longest = bench, answer, longest
        self._has_told = False

    def of(self, row: Row) -> list[int]:
        """The prompt, or as much of its end as leaves room. Raises DataError if the row has none."""
        whole = self._bench.encoder.prompt(row)
        kept = self._bench.shortened(whole, answer=self._answer, longest=self._longest)
        if len(kept) < len(whole) and not self._has_told:
            self._has_told = True
            what = (
                f"a prompt of {len(whole)} tokens was shortened to its last {len(kept)}, as its answer may have "
                f"{self._answer}; so are others of that length"
            )
            advice = "raise data.max_length, lower rollout.max_new_tokens, or leave such rows out"
            self._bench.reporter.notice("warning", what, advice)
        return kept


def places_of_step(bench: Bench, step: int, *, batch_size: int, seed: int, shuffle: bool) -> Sequence[int]:
    """Which rows of the training data a step's prompts are, over all processes."""
    return rows_of_step(
        step,
        batch_size=batch_size,
        n_rows=len(bench.train.rows),
        seed=seed,
        shuffle=shuffle,
        parts=bench.train.parts,
    )

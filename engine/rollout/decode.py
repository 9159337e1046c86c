"""Writing answers, token by token; a row that has ended leaves the batch.

Every answer draws from a stream of its own, made from the seed it is given. So what is drawn depends neither on its
neighbours in the batch, nor on how many processes share the work, nor on whether the run was interrupted.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.contract.online_settings import Rollout as RolloutSettings
from engine.rollout import drawing
from engine.rollout.protocol import Answer
from engine.rollout.readers import Reader
from engine.rollout.stopping import Ends

#: Rows that have ended are dropped once they are this share of the batch: moving the others up costs about a step.
WORTH_LEAVING = 0.125


def write_answers(
    reader: Reader,
    seeds: Sequence[int],
    how: RolloutSettings,
    ends: Ends,
    *,
    greedy: bool,
    breathe: Callable[[], None],
) -> list[Answer]:
    """An answer for each row of the reader, by its seed. breathe is called once a token."""
    longest, device = how.max_new_tokens, reader.logits.device
    noise = torch.stack([_uniform(seed, longest) for seed in seeds], dim=1).to(device)  # (longest, answers)
    page = _Page(len(seeds), longest, device)
    rows = torch.arange(len(seeds), device=device)  # which answer each row of the batch writes
    is_open = torch.ones_like(rows, dtype=torch.bool)
    for column in range(longest):
        breathe()
        if greedy:
            drawn = drawing.take_likeliest(reader.logits, how)
        else:
            drawn = drawing.draw(reader.logits, noise[column, rows], how)
        page.write(rows, column, drawn)
        is_open &= ~page.end(rows, column, is_open & ends.reached(page.ids[rows, : column + 1]))
        left = int(is_open.sum())
        if not left or column == longest - 1:
            break
        tokens = drawn.tokens
        if 1 - left / len(rows) >= WORTH_LEAVING:
            kept = is_open.nonzero().squeeze(-1)
            reader.keep(kept)
            rows, tokens, is_open = rows[kept], tokens[kept], is_open[kept]
        reader.read(tokens)
    return page.answers()


class _Page:
    """What each answer says so far. A row that has ended is written on until it leaves; that counts for nothing."""

    def __init__(self, answers: int, longest: int, device: torch.device) -> None:
        self.ids = torch.zeros(answers, longest, dtype=torch.long, device=device)
        self._logps = torch.zeros(2, answers, longest, device=device)  # under the whole law, and the one drawn from
        self._lengths = torch.full((answers,), longest, device=device)
        self._has_ended = torch.zeros(answers, dtype=torch.bool, device=device)

    def write(self, rows: Tensor, column: int, drawn: drawing.Drawn) -> None:
        self.ids[rows, column] = drawn.tokens
        self._logps[0, rows, column] = drawn.logps
        self._logps[1, rows, column] = drawn.drawn_logps

    def end(self, rows: Tensor, column: int, is_end: Tensor) -> Tensor:
        """Answers end with this column where is_end, (rows,), which is given back."""
        ended = rows[is_end]
        self._lengths[ended] = column + 1
        self._has_ended[ended] = True
        return is_end

    def answers(self) -> list[Answer]:
        ids, (logps, drawn), lengths = self.ids.tolist(), self._logps.tolist(), self._lengths.tolist()
        has_ended = self._has_ended.tolist()
        return [
            Answer(ids[i][:length], logps[i][:length], "stop" if has_ended[i] else "length", drawn[i][:length])
            for i, length in enumerate(lengths)
        ]


def _uniform(seed: int, count: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))

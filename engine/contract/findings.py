"""What is found out about a run before its first step: the data as the model sees it, and one step rehearsed.

Bounded, whatever the data holds: a few rows, the first and last tokens of each, a histogram of a few dozen bars.
"""

from typing import Literal

from pydantic import BaseModel

FROZEN = {"frozen": True, "ser_json_inf_nan": "constants"}


class SeenText(BaseModel, **FROZEN):
    """One text as the model reads it, token by token.

    name: chosen or rejected; empty where a row is one text. counted: [from, to) in `tokens`, what counts in the loss.
    length: tokens in all; `skipped` of them are not shown, and would stand before tokens[skipped_at].
    is_cut: whether the row has more than fits. sampled: tokens that the model will write after it, at most.
    """

    name: str = ""
    tokens: list[str]
    ids: list[int]
    counted: list[tuple[int, int]]
    length: int
    skipped: int = 0
    skipped_at: int = 0
    is_cut: bool = False
    sampled: int = 0


class SeenRow(BaseModel, **FROZEN):
    """place: where the row stands, as `rows.jsonl, line 7`."""

    place: str
    texts: list[SeenText]


class LeftOut(BaseModel, **FROZEN):
    """Rows that cannot be learned from. where: the first few of them, as `rows.jsonl, lines 3, 9 and 4 more`."""

    reason: str
    count: int
    where: str


class Lengths(BaseModel, **FROZEN):
    """Tokens of each text. limit: the longest allowed. bars: how many are of [i * width, (i + 1) * width) tokens."""

    median: int
    p95: int
    longest: int
    limit: int
    width: int
    bars: list[int]


class Finding(BaseModel, **FROZEN):
    """Something worth saying. An error keeps the run from starting. key: the setting that is meant, dotted, if any."""

    level: Literal["good", "info", "warning", "error"]
    what: str
    advice: str = ""
    key: str = ""


class Measured(BaseModel, **FROZEN):
    """One step at the longest batch, rehearsed without learning from it.

    step_seconds: of a step of usual length; run_seconds: of all steps, without evaluations and saving.
    peak_bytes: memory in use at most, on a GPU of the GPU. at_once: rows (pairs, prompts) in memory at a time;
    grad_norm: of the gradient of those alone.
    """

    device: str
    longest_seconds: float
    step_seconds: float
    run_seconds: float
    peak_bytes: int
    at_once: int
    grad_norm: float


class Report(BaseModel, **FROZEN):
    """rows: of the data. items: those of them that can be learned from and were looked at; cut, repeated: of these.

    also_held_out: held-out rows that are also learned from. tokens, counted_tokens: of all items. by_token: whether
    tokens count one by one; else a text counts as a whole.
    writes_bytes: what the run will write, at most. of_images: there are no texts; the findings say what there is.
    """

    rows: int
    items: int
    cut: int
    repeated: int
    held_out: int
    also_held_out: int
    left_out: list[LeftOut]
    tokens: int
    counted_tokens: int
    by_token: bool = True
    lengths: Lengths
    shown: list[SeenRow]
    findings: list[Finding]
    measured: Measured | None = None
    writes_bytes: int = 0
    of_images: bool = False

    @property
    def errors(self) -> list[Finding]:
        """Why the run would learn nothing, or could not run at all."""
        return [finding for finding in self.findings if finding.level == "error"]

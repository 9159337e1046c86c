"""What reads tokens and keeps what it has read: all a decoder needs of a model."""

from typing import Protocol

from torch import Tensor


class Reader(Protocol):
    """Rows that are being written: some prompts, each with as many rows as it gets answers, prompt after prompt.

    logits: (rows, vocabulary), what may follow what was read last.
    """

    logits: Tensor

    def read(self, tokens: Tensor) -> None:
        """Read one token a row, (rows,)."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone; rows: their indices, ascending."""

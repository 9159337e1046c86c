"""Where an answer ends: at a token that ends it, or at a text that was to stop it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

#: A decoder may take a space from the first token of a text; so a few more tokens are read than a stop text has bytes.
MARGIN = 4


class Ends:
    """ids: tokens that end an answer. stops: texts that end it when it holds one of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], stops: Sequence[str]) -> None:
        self._tokenizer, self._ids, self._stops = tokenizer, torch.tensor(list(ids), dtype=torch.long), tuple(stops)
        # A token that shows is a byte at least, so a stop text that ends with the last token begins within these.
        self._looked_at = max((len(stop.encode()) for stop in stops), default=0) + MARGIN

    def reached(self, written: Tensor) -> Tensor:
        """Which rows of written, (rows, tokens so far), end with their last token, (rows,)."""
        is_end = (written[:, -1:] == self._ids.to(written.device)).any(dim=-1)
        if not self._stops:
            return is_end
        texts = self._tokenizer.batch_decode(written[:, -self._looked_at :], skip_special_tokens=True)
        holds = [any(stop in text for stop in self._stops) for text in texts]
        return is_end | torch.tensor(holds, device=written.device)

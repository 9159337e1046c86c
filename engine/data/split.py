"""Which rows are held out of training: by their prompt, so that no prompt is on both sides."""

import hashlib
import json
from typing import Any

from engine.data.rows import Row


def is_held_out(row: Row, *, share: float, seed: int) -> bool:
    """Whether a canonical row is among the share that only measures. It depends on its prompt and the seed alone."""
    asked = json.dumps([seed, prompt_of(row)], sort_keys=True, default=str)
    digest = hashlib.blake2b(asked.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def prompt_of(row: Row) -> Any:
    """What two rows must not share across the border: the prompt, or how far a conversation goes without an answer.

    Of rows without a prompt, all there is.
    """
    if row.get("prompt"):
        return row["prompt"]
    if "messages" in row:
        answers = [i for i, message in enumerate(row["messages"]) if message["role"] == "assistant"]
        return row["messages"][: answers[0]] if answers else row["messages"]
    if "input_ids" in row:
        first = row["is_target"].index(True) if True in row["is_target"] else 0
        return row["input_ids"][:first] or row["input_ids"]
    if "chosen_ids" in row:
        pairs = zip(row["chosen_ids"], row["rejected_ids"], strict=False)
        shared = next((i for i, (a, b) in enumerate(pairs) if a != b), 0)
        return row["chosen_ids"][:shared] or row["chosen_ids"]
    return row.get("text", row)

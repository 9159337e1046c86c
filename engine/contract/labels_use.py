"""How a run learns from a labelling set: the `options` of a source `labels:<set>`."""

from typing import Literal

from pydantic import BaseModel

from engine.contract.labels import Judgement
from engine.contract.settings import STRICT, setting

#: What the path of such a source begins with.
SCHEME = "labels:"


class LabelUse(BaseModel, **STRICT):
    """Skipped items and gold items are never learned from; an item that was adjudicated counts as decided there."""

    ties: Literal["drop", "soft"] = setting("drop", "leave ties out, or learn them both ways round, as half and half")
    margin: Literal["none", "small", "large"] = setting(
        "small", "what a strength of 1, 2, 3 asks between two rewards: 1/3, 2/3, 1 or 1, 2, 3 (Llama 2, table 27)"
    )
    flagged: bool = setting(False, "learn from what was flagged for review, too")
    labellers: list[str] | None = setting(None, "learn from these people only; a model that votes counts if named here")


def is_used(judgement: Judgement, use: LabelUse) -> bool:
    """Whether who said it, and how, is among what is to be learned from."""
    wanted = not judgement.is_vote if use.labellers is None else judgement.labeller in use.labellers
    return wanted and (use.flagged or not judgement.flagged)

"""Sections of the preset that learns a reward model of pictures from judgements."""

from typing import Literal

from pydantic import BaseModel

from engine.contract.settings import DEVICE, DTYPE, STRICT, setting


class ScorerNetwork(BaseModel, **STRICT):
    size: int = setting(8, "height and width of the pictures; others are brought to it", unit="pixels", ge=4, le=1024)
    channels: int = setting(1, "1 for grey, 3 for colour", ge=1, le=3)
    width: int = setting(32, "channels of the first layer; the others have twice as many", ge=4, le=1024)


class ScorerModel(BaseModel, **STRICT):
    path: str = setting(
        help="classifier whose features are scored, or an earlier reward model of pictures (folder, run directory,"
        " run:<name>, assets:<name>); or scratch",
        main=True,
        min_length=1,
    )
    scratch: ScorerNetwork = setting(ScorerNetwork(), "the network to build", needs="path=scratch")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = DTYPE
    device: str = DEVICE


class ImageRewardModel(BaseModel, **STRICT):
    centring: float = setting(0.01, "pull of the scores to 0 (arXiv:2312.09244), so that they add up with others", ge=0)

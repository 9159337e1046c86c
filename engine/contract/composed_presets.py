"""Presets of methods that put sampling together with another method's loss; preset.py joins them to the others."""

from typing import Literal

from pydantic import BaseModel

from engine.contract import composed_settings, online_settings, settings
from engine.contract.settings import NAME, SEED, STRICT, setting


class BestOfNPreset(BaseModel, **STRICT):
    method: Literal["best_of_n"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    rollout: online_settings.Rollout = online_settings.Rollout()
    rewards: list[online_settings.Reward] = setting(
        help="what an answer is worth: a weighted sum of parts", min_length=1
    )
    best_of_n: composed_settings.BestOfN = composed_settings.BestOfN()


class OnlineDpoPreset(BaseModel, **STRICT):
    method: Literal["online_dpo"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    rollout: online_settings.Rollout = online_settings.Rollout()
    rewards: list[online_settings.Reward] = setting(
        help="what an answer is worth: a weighted sum of parts", min_length=1
    )
    online_dpo: composed_settings.OnlineDpo = composed_settings.OnlineDpo()


class DistillPreset(BaseModel, **STRICT):
    method: Literal["distill"]
    name: str | None = NAME
    seed: int = SEED
    model: settings.Model
    data: settings.Data
    optimizer: settings.Optimizer = settings.Optimizer()
    training: settings.Training = settings.Training()
    rollout: online_settings.Rollout = online_settings.Rollout()
    distill: composed_settings.Distill

"""The sections of a preset that learns from what it samples: how answers are drawn, and what they are worth.

The words for a setting, and what holds for all sections, are in settings.py.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from engine.contract.settings import STRICT, setting


class Rollout(BaseModel, **STRICT):
    completions_per_prompt: int = setting(8, "answers sampled for each prompt", main=True, ge=1, le=1024)
    max_new_tokens: int = setting(256, "longest answer", unit="tokens", main=True, ge=1, le=100_000)
    temperature: float = setting(1.0, "how freely tokens are drawn", gt=0, le=10)
    top_p: float = setting(1.0, "draw from the likeliest tokens that make up this share; 1 = all", gt=0, le=1)
    top_k: int = setting(0, "draw from so many likeliest tokens; 0 = all", ge=0)
    recorded: int = setting(16, "answers a step keeps in rollouts.jsonl, token by token", unit="answers", ge=0)


class Verifier(BaseModel, **STRICT):
    kind: Literal["verifier"]
    weight: float = setting(1.0, "share in the sum")


class ExactMatch(BaseModel, **STRICT):
    kind: Literal["exact_match"]
    weight: float = setting(1.0, "share in the sum")
    column: str = setting("answer", "column of the data that holds the right answer", min_length=1)


class Pattern(BaseModel, **STRICT):
    kind: Literal["pattern"]
    weight: float = setting(1.0, "share in the sum")
    pattern: str = setting(help="regular expression that the whole answer should match", min_length=1)


class Length(BaseModel, **STRICT):
    kind: Literal["length"]
    weight: float = setting(1.0, "share in the sum")
    target: int = setting(help="full reward up to this length, falling to 0 at twice it", unit="tokens", ge=1)


Reward = Annotated[Verifier | ExactMatch | Pattern | Length, Field(discriminator="kind")]


class Grpo(BaseModel, **STRICT):
    beta: float = setting(0.04, "pull back to the reference model (KL weight); 0 = none", unit="1/nat", main=True, ge=0)
    epsilon: float = setting(0.2, "how far a token's probability ratio may fall before it stops counting", gt=0, lt=1)
    epsilon_high: float | None = setting(None, "how far it may rise; empty = epsilon", gt=0)
    scale_advantages: Literal["group", "batch", "none"] = setting(
        "group", "divide advantages by the spread of rewards of a prompt, of the batch, or not at all"
    )
    iterations: int = setting(1, "passes over each batch of answers", ge=1, le=64)
    kl_correction: bool = setting(True, "weigh the KL term by the probability ratio (DeepSeek-V3.2)")

"""One completion a line in rollouts.jsonl, with what is known of each of its tokens."""

from typing import Any

from pydantic import BaseModel, Field, ValidationError


class Completion(BaseModel, frozen=True, ser_json_inf_nan="constants"):
    """What the model wrote. The arrays have one entry per token of the completion; empty where not known.

    prompt: the text as the model saw it. tokens: decoded one by one. logps, reference_logps: nats.
    finish: `stop` (wrote its end token) or `length` (cut off). parts: the reward's parts by name, unweighted.
    token_kls: nats. values: what a critic expected before each token. token_rewards: KL and score, as they were learned
    from. advantages: how much better than expected each token was.
    """

    step: int
    prompt: str
    completion: str
    prompt_id: int = 0
    answer: str | None = None
    reward: float | None = None
    parts: dict[str, float] = Field(default_factory=dict)
    advantage: float | None = None
    kl: float | None = None
    finish: str = "stop"
    tokens: list[str] = Field(default_factory=list)
    token_ids: list[int] = Field(default_factory=list)
    logps: list[float] = Field(default_factory=list)
    reference_logps: list[float] = Field(default_factory=list)
    token_kls: list[float] = Field(default_factory=list)
    values: list[float] = Field(default_factory=list)
    token_rewards: list[float] = Field(default_factory=list)
    advantages: list[float] = Field(default_factory=list)


def read_completion(line: bytes) -> Completion | None:
    """The completion on a line, or None if it cannot be read."""
    try:
        return Completion.model_validate_json(line)
    except (ValidationError, ValueError):
        return None


def completion_line(**values: Any) -> str:
    """A completion as a line, without its newline."""
    return Completion(**values).model_dump_json()

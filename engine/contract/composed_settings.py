"""The sections of methods that put sampling together with another method's loss: SFT, DPO, distillation.

How answers are drawn and what they are worth is in online_settings.py, the words for a setting in settings.py.
"""

from typing import Literal

from pydantic import BaseModel

from engine.contract.settings import STRICT, setting


class BestOfN(BaseModel, **STRICT):
    keep: Literal["best", "elite"] = setting(
        "best",
        "which answers are learned: the best to each prompt (RAFT), or the best share of the whole step, whatever they"
        " answer (cross-entropy method)",
        main=True,
    )
    elite: float = setting(0.2, "that share", needs="keep=elite", gt=0, le=1)
    min_reward: float | None = setting(
        None, "learn no answer that is worth less, however few are left; empty = any (STaR keeps the right ones)"
    )
    leave_out_truncated: bool = setting(
        False, "learn no answer that ran into rollout.max_new_tokens: it would teach not to end"
    )
    epochs: int = setting(1, "passes over what is kept of a step", ge=1, le=64)
    minibatches: int = setting(1, "updates that each pass is cut into", ge=1, le=1024)


class OnlineDpo(BaseModel, **STRICT):
    beta: float = setting(
        0.1, "pull back to the reference model; the larger, the closer", unit="1/nat", main=True, gt=0
    )
    loss: Literal[
        "sigmoid",
        "hinge",
        "ipo",
        "ipo_sum",
        "nca_pair",
        "bco_pair",
        "sppo_hard",
        "apo_zero",
        "apo_down",
        "discopop",
        "sigmoid_norm",
    ] = setting("sigmoid", "what makes a pair cost; sigmoid is DPO itself, ipo averages over tokens, ipo_sum sums")
    label_smoothing: float = setting(
        0.0, "share of pairs taken to be ranked the wrong way round", needs="loss=sigmoid", ge=0, lt=0.5
    )
    missing_eos_penalty: float = setting(0.0, "taken off the reward of an answer that was cut off", ge=0)
    epochs: int = setting(1, "passes over the pairs of a step", ge=1, le=64)


class Distill(BaseModel, **STRICT):
    teacher: str = setting(
        help="model to learn from, with the same tokens: run directory, run:<name>, folder, file.gguf or hub id",
        main=True,
        min_length=1,
    )
    beta: float = setting(
        1.0,
        "which divergence falls: 0 forward KL (covers all that the teacher does), 1 reverse KL (does nothing that the"
        " teacher would not), between them generalised Jensen-Shannon",
        main=True,
        ge=0,
        le=1,
    )
    on_policy: float = setting(
        1.0, "share of answers that the student writes itself (lambda of GKD)", main=True, ge=0, le=1
    )
    others: Literal["data", "teacher"] = setting(
        "data", "whose the other answers are: the data's own, or written by the teacher"
    )
    temperature: float = setting(1.0, "flattens both distributions before they are compared", gt=0, le=10)

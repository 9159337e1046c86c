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
    min_p: float = setting(
        0.0, "draw from tokens at least so probable as this share of the likeliest; 0 = all", ge=0, le=1
    )
    stop: list[Annotated[str, Field(min_length=1)]] = setting(
        default_factory=list, help="texts that end an answer, beside the model's own end; they stay in it"
    )
    memory: int = setting(
        4096, "most memory for sampling; answers beyond it are written in turns, which changes none", unit="MiB", ge=1
    )
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
    timeout: float = setting(60.0, "for a whole batch of answers; each may take 1", unit="s", gt=0, le=3600)


class Length(BaseModel, **STRICT):
    kind: Literal["length"]
    weight: float = setting(1.0, "share in the sum")
    target: int = setting(help="full reward up to this length, falling to 0 at twice it", unit="tokens", ge=1)


class Overlong(BaseModel, **STRICT):
    kind: Literal["overlong"]
    weight: float = setting(1.0, "share in the sum")
    longest: int = setting(help="-1 from this length on", unit="tokens", ge=1)
    buffer: int = setting(help="falling from 0 to that over so many tokens before it", unit="tokens", ge=1)


class LearnedReward(BaseModel, **STRICT):
    kind: Literal["model"]
    weight: float = setting(1.0, "share in the sum")
    path: str = setting(
        help="reward model: run directory, run:<name> for the newest run of that name, folder or hub id",
        main=True,
        min_length=1,
    )
    normalize: bool = setting(
        True, "bring its scores to mean 0 and spread 1, by the mean and the spread that are stored with it"
    )


class Judged(BaseModel, **STRICT):
    kind: Literal["judge"]
    weight: float = setting(1.0, "share in the sum")
    path: str = setting(
        help="language model that judges: run directory, run:<name>, folder, file.gguf or hub id",
        main=True,
        min_length=1,
    )
    constitution: str = setting("assets/constitution.md", "text file of what makes an answer better", min_length=1)
    question: str = setting("Which answer is better?", "what the judge is asked of two answers", min_length=1)


class MathVerify(BaseModel, **STRICT):
    kind: Literal["math_verify"]
    weight: float = setting(1.0, "share in the sum")
    column: str = setting(
        "answer", "column of the data that holds the right answer, in LaTeX or plain: 1/2 equals 0.5", min_length=1
    )
    timeout: float = setting(60.0, "for a whole batch of answers; each may take 5", unit="s", gt=0, le=3600)


class OwnFunction(BaseModel, **STRICT):
    kind: Literal["function"]
    weight: float = setting(1.0, "share in the sum")
    path: str = setting(
        help="Python file with a function f(prompts, completions, **columns) -> list of numbers, as TRL takes it; for"
        " images f(prompts, images)",
        main=True,
        min_length=1,
    )
    function: str = setting("reward", "name of the function in it", pattern=r"^[A-Za-z_]\w*$")
    allow_code: bool = setting(False, "yes, run this file: it is a program, and may do whatever you may do")
    sha256: str | None = setting(
        None,
        "only what has this hash may run; empty = whatever stands there, and you are told if it has changed",
        pattern=r"^[0-9a-f]{64}$",
    )
    timeout: float = setting(60.0, "for a whole batch of answers; then its process is ended", unit="s", gt=0, le=3600)


Reward = Annotated[
    Verifier | ExactMatch | Pattern | Length | Overlong | MathVerify | LearnedReward | Judged | OwnFunction,
    Field(discriminator="kind"),
]


class Grpo(BaseModel, **STRICT):
    beta: float = setting(0.04, "pull back to the reference model (KL weight); 0 = none", unit="1/nat", main=True, ge=0)
    kl_in: Literal["loss", "reward", "tokens"] = setting(
        "loss",
        "where the pull acts: on each token in the loss, on the whole answer in its reward, or in the reward of each"
        " token from it on (REINFORCE++)",
    )
    kl: Literal["k1", "k2", "k3"] = setting("k3", "estimator of the KL divergence (Schulman 2020); k1 may be negative")
    kl_correction: bool = setting(
        True, "weigh the KL term by the probability ratio (DeepSeek-V3.2)", needs="kl_in=loss"
    )
    baseline: Literal["group", "leave_one_out", "batch", "none"] = setting(
        "group",
        "what a reward is compared with: the mean of its prompt, of the prompt's others (RLOO), of the batch, 0",
    )
    scale_advantages: Literal["group", "batch", "advantages", "none"] = setting(
        "group",
        "divide advantages by the spread of rewards of the prompt, of the batch, by their own in the batch, or not",
    )
    ratio: Literal["token", "sequence", "sequence_token", "answer"] = setting(
        "token",
        "what new and old policy are compared by: each token, the answer's mean token (GSPO; sequence_token with each"
        " token's own gradient), or the whole answer (RLOO)",
    )
    clip: Literal["two_sided", "one_sided", "soft", "gamma", "none"] = setting(
        "two_sided",
        "how the ratio is kept near 1: PPO's clipping, a capped weight (CISPO), a soft gate (SAPO), a gamma weight of"
        " the whole answer (VESPO), or not at all",
    )
    epsilon: float = setting(
        0.2, "how far a probability ratio may fall before it stops counting", needs="clip=two_sided", gt=0, lt=1
    )
    epsilon_high: float | None = setting(
        None, "how far it may rise; empty = epsilon (DAPO takes 0.28)", needs="clip=two_sided", gt=0
    )
    cap: float | None = setting(
        None,
        "largest ratio that counts: of one_sided for every token (5 is usual), of two_sided where the advantage is"
        " negative (dual clip)",
        needs="clip=two_sided|one_sided",
        gt=1,
    )
    gate_up: float = setting(1.0, "steepness of the gate for answers above the baseline", needs="clip=soft", gt=0)
    gate_down: float = setting(1.05, "steepness of the gate for the others", needs="clip=soft", gt=0)
    aggregation: Literal["token", "sequence", "prompt", "constant"] = setting(
        "token",
        "what counts alike in the loss: tokens (DAPO), answers (GRPO), prompts (ScaleRL), or tokens of answers taken to"
        " be of one length (Dr. GRPO)",
    )
    constant_length: int | None = setting(
        None, "that length; empty = rollout.max_new_tokens", unit="tokens", needs="aggregation=constant", ge=1
    )
    leave_out_alike: bool = setting(False, "leave out prompts whose answers all scored alike, in every count")
    refill: int = setting(
        0,
        "sample other prompts in place of those left out, at most so many times a step (DAPO's dynamic sampling)",
        needs="leave_out_alike",
        ge=0,
        le=64,
    )
    retire_at: float | None = setting(
        None,
        "sample a prompt no more once the mean reward of its answers has reached this (ScaleRL: 0.9); empty = never",
    )
    leave_out_truncated: bool = setting(False, "learn nothing from answers that ran into rollout.max_new_tokens")
    interrupt_with: str | None = setting(
        None,
        "text put after an answer that ran into rollout.max_new_tokens, so that it comes to an end; not learned",
        min_length=1,
    )
    interrupt_tokens: int = setting(
        32, "tokens it may then go on for", unit="tokens", needs="interrupt_with", ge=1, le=100_000
    )
    importance: Literal["none", "token", "sequence"] = setting(
        "none",
        "weigh tokens, or answers, by how far the law they were drawn from is from the one that learns; it lets"
        " rollout.top_p and its like be used",
    )
    importance_beyond: Literal["truncate", "mask"] = setting(
        "truncate", "weights above importance_cap count as that, or for nothing", needs="importance=token|sequence"
    )
    importance_cap: float = setting(3.0, "largest such weight", needs="importance=token|sequence", gt=0)
    float32_head: bool = setting(
        False, "compute logits in float32 where the model computes in less, when sampling and when learning (ScaleRL)"
    )
    entropy_coefficient: float = setting(
        0.0, "reward for staying uncertain: this times the mean entropy of a token, in the loss", unit="1/nat", ge=0
    )
    iterations: int = setting(1, "passes over each batch of answers", ge=1, le=64)
    minibatches: int = setting(
        1, "updates that each pass is cut into, by prompts; later ones are clipped as in PPO", ge=1, le=1024
    )


class Ppo(BaseModel, **STRICT):
    beta: float = setting(
        0.05, "pull back to the reference model: KL taken off the reward; 0 = none", unit="1/nat", main=True, ge=0
    )
    kl_estimator: Literal["k1", "k3"] = setting(
        "k1", "what counts as KL of a token: its log-ratio, or that made never negative (k3)"
    )
    kl_target: float | None = setting(
        None, "let beta follow this KL of an answer to the reference; empty = beta stays", unit="nats", gt=0
    )
    kl_horizon: int = setting(10_000, "answers over which beta comes to its target", unit="answers", ge=1)
    epochs: int = setting(4, "passes over the answers of a step", main=True, ge=1, le=64)
    minibatches: int = setting(1, "updates that each pass is cut into", ge=1, le=1024)
    epsilon: float = setting(0.2, "how far a token's probability ratio may move before it stops counting", gt=0, lt=1)
    stop_at_kl: float | None = setting(
        None, "leave a step's other updates out once the policy moved this far in it", unit="nats a token", gt=0
    )
    gamma: float = setting(1.0, "what a reward is worth one token earlier", ge=0, le=1)
    lam: float = setting(0.95, "trust in the critic: 0 believes it, 1 the rewards alone (GAE)", ge=0, le=1)
    whiten_advantages: bool = setting(True, "bring the advantages of a step to mean 0 and spread 1")
    whiten_rewards: bool = setting(False, "bring the rewards of all tokens to spread 1")
    scores: Literal["as_is", "scaled", "normalized"] = setting(
        "as_is", "divide scores by their spread so far, and take their mean off, too"
    )
    score_clip: float | None = setting(None, "largest score, and smallest with a minus; empty = none", gt=0)
    missing_eos_penalty: float = setting(0.0, "taken off the score of an answer that was cut off", ge=0)
    entropy_weight: float = setting(0.0, "reward for staying uncertain, in the loss", ge=0)
    critic: Literal["model", "head"] = setting(
        "model", "what foretells the reward: a model of its own, or a head on the policy that shares its weights"
    )
    critic_path: str | None = setting(
        None,
        "model that the critic begins as, given as model.path is; empty = the reward model if it reads the same"
        " tokens, else the policy",
        needs="critic=model",
    )
    critic_learning_rate: float | None = setting(
        None, "size of its steps, on the policy's schedule; empty = the policy's", gt=0, le=1
    )
    critic_warmup: int = setting(0, "steps in which the critic learns alone", unit="steps", ge=0)
    value_weight: float = setting(0.1, "weight of the critic's error in the loss", gt=0)
    value_epsilon: float | None = setting(
        0.2, "how far a value may move before it stops counting; empty = any", unit="reward", gt=0
    )

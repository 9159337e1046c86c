"""What PPO lives through in a step: answers, what they were worth, how much better than expected each token was.

Every process keeps the experience of all: it is small, and so a batch is cut and whitened the same however many there
are. Lists have one entry per token of the answer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from engine import rewards
from engine.advantages import explained_variance, generalized_advantage, kl_k1, kl_k3, whiten
from engine.contract.online_settings import Ppo
from engine.contract.preset import PpoPreset
from engine.contract.rollouts import Completion
from engine.data.batching import micro_batches, mix, pad_rows
from engine.data.chat import Example
from engine.data.sources import Row
from engine.data.tasks import right_answer
from engine.kl_control import Moments
from engine.logprobs import Rows
from engine.methods.bench import Bench
from engine.methods.prompts import Prompts
from engine.methods.timer import Timer
from engine.rewards import Answered, Reward, RewardSum
from engine.rollout.protocol import Answer
from engine.tally import Mean, Peak, Values

Item = TypeVar("Item")


class Lived(NamedTuple):
    """An answer and what was thought of it when it was written.

    reference_logps: nats, empty without a reference. values: of the state before each token, reward units.
    """

    row: Row
    prompt: list[int]
    answer: Answer
    text: str
    reward: Reward
    reference_logps: list[float] = []  # noqa: RUF012 - never written to
    values: list[float] = []  # noqa: RUF012 - never written to


class Experience(NamedTuple):
    """An answer and what is learned from it.

    score: what it was worth, as PPO takes it. kls: nats. rewards: the KL penalty, with the score on the last token.
    """

    lived: Lived
    score: float
    kls: list[float]
    rewards: list[float]
    advantages: list[float]
    returns: list[float]


# ------------------------------------------------------------------------------------------------- living through it


def live(
    preset: PpoPreset,
    bench: Bench,
    reward: RewardSum,
    prompts: Prompts,
    chosen: Sequence[int],
    timer: Timer,
    *,
    step: int,
) -> list[Lived]:
    """The answers to the chosen rows, what they are worth, and what reference and critic think: of all processes."""
    with timer.phase("rollout"):
        lived = _write(preset, bench, prompts, chosen, step)
    with timer.phase("reward"):
        scores = reward.score([Answered(one.row, one.text, one.answer.ids, one.prompt) for one in lived])
    with timer.phase("reference"):
        lived = _read(preset, bench, [one._replace(reward=score) for one, score in zip(lived, scores, strict=True)])
    everyones = gather_object([lived]) if bench.accelerator.num_processes > 1 else [lived]
    return [one for process in everyones for one in process]


def _write(preset: PpoPreset, bench: Bench, prompts: Prompts, chosen: Sequence[int], step: int) -> list[Lived]:
    """This process's part of the answers."""
    how, nothing = preset.rollout, Reward(0.0, {})
    mine = bench.share(list(enumerate(chosen)))
    rows = [bench.train.rows[index] for _, index in mine]
    read = [prompts.of(row) for row in rows]
    members = range(how.completions_per_prompt)
    seeds = [[mix(preset.seed, step, place, member) for member in members] for place, _ in mine]
    answers = bench.rollout.answers(read, seeds, how)
    return [
        Lived(row, prompt, answer, bench.encoder.decode(answer.ids), nothing)
        for row, prompt, group in zip(rows, read, answers, strict=True)
        for answer in group
    ]


@torch.no_grad()
def _read(preset: PpoPreset, bench: Bench, lived: Sequence[Lived]) -> list[Lived]:
    """With the log-probabilities of the reference and the values of the critic."""
    read: list[Lived] = []
    for part in cut(preset, lived, lived):
        bench.breathe()
        rows = rows_of(bench, part)
        with bench.accelerator.autocast():
            values = bench.bare_scorer.values(rows)  # type: ignore[operator]  # an ActorCritic
            reference = _reference(preset, bench, rows)
        lengths = [len(one.answer.ids) for one in part]
        each_value = [piece.tolist() for piece in values.split(lengths)]
        each_logp = [[] for _ in part] if reference is None else [piece.tolist() for piece in reference.split(lengths)]
        read += [
            one._replace(reference_logps=logps, values=mine)
            for one, logps, mine in zip(part, each_logp, each_value, strict=True)
        ]
    return read


def _reference(preset: PpoPreset, bench: Bench, rows: Rows) -> Tensor | None:
    """Log-probabilities under the reference, at the temperature that answers are drawn at."""
    if preset.ppo.beta == 0:
        return None
    with bench.policy.without_adapter():
        scorer = bench.reference_scorer or bench.bare_scorer.actor
        logps: Tensor = scorer(rows, preset.rollout.temperature).logps  # type: ignore[operator]  # a TokenScorer
    return logps


def rows_of(bench: Bench, lived: Sequence[Lived]) -> Rows:
    """Prompts and answers as rows whose targets are the answers: the ids that were drawn, never text read again."""
    examples = [
        Example([*one.prompt, *one.answer.ids], [False] * len(one.prompt) + [True] * len(one.answer.ids))
        for one in lived
    ]
    return pad_rows(examples, bench.pad_id).to(bench.accelerator.device)


def cut(preset: PpoPreset, items: Sequence[Item], lived: Sequence[Lived]) -> list[list[Item]]:
    """Items in parts that fit into memory, each made of the answer at its place."""
    lengths = [len(one.prompt) + len(one.answer.ids) for one in lived]
    return micro_batches(items, lengths, preset.training.micro_batch_size)


# ---------------------------------------------------------------------------------------------------- judging it


def judged(lived: Sequence[Lived], own: Ppo, *, beta: float, moments: Moments) -> list[Experience]:
    """Rewards, advantages and returns of the answers of a step. moments: of the scores before it, and then of it, too.

    The reward of a token is -beta KL, and the last one has the score besides (Ziegler et al. 2019, arXiv:1909.08593,
    eq. 2; Ouyang et al. 2022, arXiv:2203.02155, eq. 2, as TRL splits it over tokens).
    """
    scores = settled(
        [one.reward.total for one in lived], [one.answer.finish == "stop" for one in lived], own, moments=moments
    )
    kls = [_kl(one, own) for one in lived]
    lengths = [len(kl) for kl in kls]
    rewards = pad_sequence([-beta * kl for kl in kls], batch_first=True)  # (answers, longest)
    rewards[torch.arange(len(lived)), torch.tensor(lengths) - 1] += torch.tensor(scores)
    is_token = torch.arange(rewards.shape[1]) < torch.tensor(lengths).unsqueeze(1)
    if own.whiten_rewards:
        rewards = rewards.masked_scatter(is_token, whiten(rewards[is_token], keeps_mean=True))
    values = torch.zeros(len(lived), rewards.shape[1] + 1)
    values[:, :-1][is_token] = torch.tensor([value for one in lived for value in one.values])
    advantages = generalized_advantage(rewards, values, gamma=own.gamma, lam=own.lam)
    # What the critic is to foretell; the advantages are whitened after it.
    returns = (advantages + values[:, :-1])[is_token].split(lengths)
    flat = advantages[is_token]
    each = (whiten(flat) if own.whiten_advantages else flat).split(lengths)
    rewarded = rewards[is_token].split(lengths)
    return [
        Experience(lived[i], scores[i], kls[i].tolist(), rewarded[i].tolist(), each[i].tolist(), returns[i].tolist())
        for i in range(len(lived))
    ]


def settled(totals: Sequence[float], has_ended: Sequence[bool], own: Ppo, *, moments: Moments) -> list[float]:
    """Scores as PPO takes them: brought to one scale, clipped, and less for an answer that was cut off."""
    moments.add(totals)
    scores = list(totals)
    if own.scores != "as_is":
        mean = moments.mean if own.scores == "normalized" else 0.0
        scores = [(score - mean) / moments.std for score in scores]
    if own.score_clip is not None:
        scores = [min(own.score_clip, max(-own.score_clip, score)) for score in scores]
    return [s if ended else s - own.missing_eos_penalty for s, ended in zip(scores, has_ended, strict=True)]


def _kl(one: Lived, own: Ppo) -> Tensor:
    """Nats of each token; 0 without a reference."""
    logps = torch.tensor(one.answer.logps)
    if not one.reference_logps:
        return torch.zeros_like(logps)
    estimate: Callable[[Tensor, Tensor], Tensor] = kl_k1 if own.kl_estimator == "k1" else kl_k3
    return estimate(logps, torch.tensor(one.reference_logps))


# ------------------------------------------------------------------------------------------------- telling of it


def told(lived: Sequence[Experience], *, beta: float) -> Values:
    """What a step's experience says in sum, under TRL's names."""
    count = len(lived)
    kls = [sum(one.kls) for one in lived]
    scores = [one.score for one in lived]
    values = torch.tensor([value for one in lived for value in one.lived.values])
    returns = torch.tensor([each for one in lived for each in one.returns])
    found: Values = {
        "objective/entropy": Mean(-sum(sum(one.lived.answer.logps) for one in lived), count),
        "objective/scores": Mean(sum(scores), count),
        "objective/rlhf_reward": Mean(sum(scores) - beta * sum(kls), count),
        # Returns that are all alike leave nothing to explain, and nothing to tell.
        "val/explained_variance": Mean(explained_variance(values, returns), float(returns.std(correction=0) > 0)),
        "val/num_eos_tokens": Mean(sum(one.lived.answer.finish == "stop" for one in lived), 1),
        "values/mean": Mean(values.sum(), len(values)),
        "returns/mean": Mean(returns.sum(), len(returns)),
        "returns/std": Mean(returns.std(correction=0), 1),
    }
    if lived[0].lived.reference_logps:
        found |= {
            "objective/kl": Mean(sum(kls), count),
            "objective/non_score_reward": Mean(-beta * sum(kls), count),
            "objective/kl_coef": Mean(beta, 1),
        }
    return found | _told_of_answers([one.lived for one in lived])


def _told_of_answers(lived: Sequence[Lived]) -> Values:
    count, lengths = len(lived), [len(one.answer.ids) for one in lived]
    found: Values = {
        "reward": Mean(sum(one.reward.total for one in lived), count),
        "completions/mean_length": Mean(sum(lengths), count),
        "completions/max_length": Peak(max(lengths)),
        "completions/clipped_ratio": Mean(sum(one.answer.finish == "length" for one in lived), count),
    }
    return found | rewards.told([one.reward for one in lived], correction=0)


def record(bench: Bench, step: int, kept: Sequence[Experience]) -> None:
    """Keep answers in rollouts.jsonl, with all that is known of each token."""
    decode = bench.policy.tokenizer.decode
    completions = []
    numbers: dict[tuple[int, ...], int] = {}
    for one in kept:
        lived = one.lived
        completions.append(
            Completion(
                step=step,
                prompt=decode(lived.prompt),
                completion=lived.text,
                prompt_id=numbers.setdefault(tuple(lived.prompt), len(numbers)),
                answer=right_answer(lived.row),
                reward=lived.reward.total,
                parts=lived.reward.parts,
                advantage=sum(one.advantages) / len(one.advantages),
                kl=sum(one.kls) if lived.reference_logps else None,
                finish=lived.answer.finish,
                tokens=[decode([token]) for token in lived.answer.ids],
                token_ids=lived.answer.ids,
                logps=lived.answer.logps,
                reference_logps=lived.reference_logps,
                token_kls=one.kls if lived.reference_logps else [],
                values=lived.values,
                token_rewards=one.rewards,
                advantages=one.advantages,
            )
        )
    bench.reporter.completions(step, completions)

"""Prompts go out, answers come back with what they are worth: the first half of every method that samples."""

from collections.abc import Sequence

from engine.contract.online_settings import Rollout
from engine.data.batching import mix
from engine.methods.answers import Sampled
from engine.methods.bench import Bench
from engine.methods.interruption import Interruption
from engine.methods.prompts import Prompts
from engine.methods.timer import Timer
from engine.rewards import Answered, RewardSum


def ask(
    bench: Bench,
    reward: RewardSum,
    prompts: Prompts,
    how: Rollout,
    chosen: Sequence[int],
    start: tuple[int, ...],
    timer: Timer,
    interruption: Interruption | None = None,
) -> list[Sampled]:
    """The answers to this process's part of the chosen rows, and their rewards; those to one prompt stand together.

    start: where the streams of random numbers begin: the seed, the step, and what else tells this call from others.
    """
    mine = bench.share(list(enumerate(chosen)))
    rows = [bench.train.rows[row] for _, row in mine]
    read = [prompts.of(row) for row in rows]
    seeds = [[mix(*start, place, each) for each in range(how.completions_per_prompt)] for place, _ in mine]
    with timer.phase("rollout"):
        answers = bench.rollout.answers(read, seeds, how)
        forced = [[range(0)] * how.completions_per_prompt for _ in mine]
        if interruption is not None:
            answers, forced = interruption.ended(read, answers, seeds)
    asked = [
        (Answered(row, bench.encoder.decode(answer.ids), answer.ids, prompt), answer, between)
        for row, prompt, group, betweens in zip(rows, read, answers, forced, strict=True)
        for answer, between in zip(group, betweens, strict=True)
    ]
    with timer.phase("reward"):
        rewards = reward.score([answered for answered, _, _ in asked])
    return [
        Sampled(each.row, list(each.prompt), answer, each.text, worth, advantage=0.0, forced=between)
        for (each, answer, between), worth in zip(asked, rewards, strict=True)
    ]

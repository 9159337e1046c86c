"""`sample --best-of N --reward …`: N answers to each prompt are written, and the one worth most is given."""

import argparse
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.command_line import arguments, given_rewards
from engine.contract import crossed, online_settings, settings
from engine.contract.faults import Fault, PresetError
from engine.data.sources import Row
from engine.data.tasks import Task

if TYPE_CHECKING:
    from engine.rewards import RewardSum
    from engine.sampling import Sample, Sampler


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments."""
    group = command.add_argument_group("the best of several", "N answers to each prompt are written, and one is given")
    group.add_argument(
        "--best-of",
        type=arguments.whole(2),
        metavar="N",
        help="how many; picking moves at most log N - (N - 1) / N nats away from the model",
    )
    group.add_argument("--reward", metavar="PRESET", help=given_rewards.HELP)


def parts(options: argparse.Namespace, model: settings.Model) -> list[online_settings.Reward]:
    """By what the best is told, paths found; nothing where all answers are given. Raises PresetError."""
    if options.best_of is None and options.reward is None:
        return []
    if options.best_of is None:
        raise PresetError(options.model, [Fault((), "", "--best-of is missing", "say of how many --reward chooses")])
    if options.greedy or options.count != 1:
        other = "--greedy" if options.greedy else "--count"
        raise PresetError(options.model, [Fault((), "", f"{other} stands beside --best-of", "leave it out")])
    found = given_rewards.rewards_of(options, model)
    if not found:
        raise PresetError(options.model, [Fault((), "", "nothing says which answer is best", "give --reward")])
    if faults := crossed.of_rewards(found):
        raise PresetError("--reward", faults)
    options.count = options.best_of
    return found


def reward_of(
    parts: Sequence[online_settings.Reward], sampler: "Sampler", tasks: Mapping[str, Task]
) -> "RewardSum | None":
    """What scores the answers; None where all are given. Raises RewardError, ModelError."""
    if not parts:
        return None
    from engine.rewards import RewardSum, Surroundings

    return RewardSum(parts, Surroundings(tasks, sampler.encoder, next(sampler.policy.model.parameters()).device))


def all_of(samples: Iterable["Sample"]) -> Iterator[tuple["Sample", dict[str, Any]]]:
    """Every answer, with nothing to say of it."""
    return ((sample, {}) for sample in samples)


def best_of(
    samples: Iterable["Sample"], rows: Sequence[Row], prompts: Sequence[list[int]], reward: "RewardSum"
) -> Iterator[tuple["Sample", dict[str, Any]]]:
    """The best answer to each prompt, of equals the first, with what it and the others were worth."""
    from engine.rewards import Answered

    for place, each in itertools.groupby(samples, key=lambda sample: sample.prompt_id):
        group = list(each)
        scored = reward.score([Answered(rows[place], s.text, s.answer.ids, prompts[place]) for s in group])
        known = [index for index, one in enumerate(scored) if one.is_known]
        best = max(known, key=lambda index: scored[index].total, default=0)
        totals = [scored[index].total for index in known]
        yield (
            group[best],
            {
                "reward": scored[best].total,
                "rewards": scored[best].parts,
                "best_of": len(group),
                "mean_reward": sum(totals) / len(totals) if totals else math.nan,
            },
        )


def described(told: Mapping[str, Any]) -> str:
    """How good the answer is beside the others, in words."""
    return f"reward {told['reward']:.3g}, the best of {told['best_of']} whose mean is {told['mean_reward']:.3g}"

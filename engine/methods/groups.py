"""What a step of GRPO learns from: the answers to its prompts, group by group, which of them count, and how much.

Everything here is a function of the step, the seed and the weights, but for the prompts that were retired; those are
kept in the run's folder with their step. All processes see the rewards and lengths of the whole step, so none of it
depends on how many there are.
"""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from engine.contract import jsonl
from engine.contract.preset import GrpoPreset
from engine.data.batching import mix, rows_of_step
from engine.group_advantages import group_advantages, is_alike, token_advantages, token_weights
from engine.methods.answers import Sampled, told
from engine.methods.asking import ask
from engine.methods.bench import Bench
from engine.methods.interruption import Interruption
from engine.methods.prompts import Prompts
from engine.methods.timer import Timer
from engine.policy_losses import kl_estimate
from engine.rewards import RewardSum
from engine.tally import Mean, Values

#: Where prompts that are asked no more are kept, one a line.
RETIRED = "retired.jsonl"
#: Orders of the rows that are looked through for prompts that are not retired.
ORDERS = 50

#: What the reference thinks of answers: they come back with its log-probabilities.
Compared = Callable[[Sequence[Sampled]], list[Sampled]]


class Told(NamedTuple):
    """What every process knows of a group: whose it is, its row, and of each answer its reward (NaN where it has none),
    its length in tokens, how many of them count, and what of the pull to the reference is ahead of each drawn one."""

    process: int
    row: int
    rewards: list[float]
    lengths: list[int]
    counting: list[int]
    ahead: list[list[float]]


class Share(NamedTuple):
    """What an answer counts; see `Sampled`."""

    weight: float
    update: int
    tokens: float


@dataclass
class Groups:
    """Samples and judges the groups of a step. compared: for a KL term in the reward; None where there is none.

    retired: row -> the step after which it is asked no more. timer: what the last step took, by phase. updates: that it
    is cut into.
    """

    preset: GrpoPreset
    bench: Bench
    reward: RewardSum
    prompts: Prompts
    compared: Compared | None
    interruption: Interruption | None
    retired: dict[int, int] = field(default_factory=dict)
    is_recalled: bool = False
    timer: Timer = field(default_factory=Timer)
    updates: int = 1

    def of_step(self, step: int) -> tuple[list[Sampled], Values]:
        """This process's answers to learn from, at least one group, and what is to tell of all that were sampled."""
        own, wanted = self.preset.grpo, self.preset.training.batch_size
        self.timer = Timer()
        self._recall(step)
        every: list[Told] = []
        mine: list[list[Sampled]] = []
        turns = 0
        for turn in range(1 + own.refill):
            turns += 1
            groups = self.sampled(self._rows(step, turn), step, turn)
            mine += [group for _, group in groups]
            every += self._known_to_all(groups)
            if sum(self._tells_apart(each) for each in every) >= wanted:
                break
        kept = [index for index, each in enumerate(every) if self._tells_apart(each)][:wanted]
        sampled = [s for group in mine for s in group]
        values = told(sampled, self.preset.rollout.completions_per_prompt)
        values |= _marks("completions/length", torch.tensor([each.lengths for each in every]))
        if self.interruption is not None:
            values["completions/interrupted_ratio"] = Mean(sum(bool(s.forced) for s in sampled), len(sampled))
        if own.leave_out_alike:
            values |= {"dynamic_sampling/turns": Mean(turns, 1), "dynamic_sampling/kept": Mean(len(kept) / wanted, 1)}
        if own.retire_at is not None:
            self._retire(step, every, own.retire_at)
            values["prompts/retired"] = Mean(len(self.retired), 1)
        judged, spread = self._judged(mine, every, kept, step)
        return judged, values | spread

    def of_rows(self, rows: Sequence[int]) -> list[Sampled]:
        """Answers to some prompts, judged among themselves, for who wants to see a step before the first."""
        groups = self.sampled(rows, 0, 0)
        every = self._known_to_all(groups)
        return self._judged([group for _, group in groups], every, range(len(every)), 0)[0]

    # ------------------------------------------------------------------------------------------------- sampling

    def sampled(self, chosen: Sequence[int], step: int, turn: int) -> list[tuple[int, list[Sampled]]]:
        """This process's part of some rows, each with its answers and their rewards."""
        # The first turn's seeds are what they were before there were others.
        start = (self.preset.seed, step) if turn == 0 else (self.preset.seed, step, turn)
        how = self.preset.rollout
        flat = ask(self.bench, self.reward, self.prompts, how, chosen, start, self.timer, self.interruption)
        if self.compared is not None:
            with self.timer.phase("reference"):
                flat = self.compared(flat)
        size = how.completions_per_prompt
        return [(row, flat[at * size : (at + 1) * size]) for at, row in enumerate(self.bench.share(chosen))]

    # ------------------------------------------------------------------------------------------------- judging

    def _known_to_all(self, groups: Sequence[tuple[int, list[Sampled]]]) -> list[Told]:
        """Rewards and lengths of all processes' groups, in the order of the rows."""
        accelerator = self.bench.accelerator
        mine = [
            Told(
                accelerator.process_index,
                row,
                rewards=[self._worth(s) for s in group],
                lengths=[len(s.answer.ids) for s in group],
                counting=[self._counting(s) for s in group],
                ahead=[self._ahead(s) for s in group],
            )
            for row, group in groups
        ]
        everyones = gather_object([mine]) if accelerator.num_processes > 1 else [mine]
        return [each for process in everyones for each in process]

    def _worth(self, s: Sampled) -> float:
        """The reward, less the pull to the reference where that acts there as a whole."""
        return s.reward.total - (sum(self._pull(s)) if self.preset.grpo.kl_in == "reward" else 0.0)

    def _pull(self, s: Sampled) -> list[float]:
        """What being away from the reference costs at each drawn token; nothing where it acts in the loss."""
        if self.compared is None:
            return []
        own = self.preset.grpo
        logps, reference = (torch.tensor(each, dtype=torch.float64) for each in (s.drawn(s.answer.logps), s.reference))
        costs: list[float] = (own.beta * kl_estimate(logps, reference, own.kl)).tolist()
        return costs

    def _ahead(self, s: Sampled) -> list[float]:
        """At each drawn token what of the pull is still to come, where it acts token by token."""
        if self.preset.grpo.kl_in != "tokens":
            return []
        pull = self._pull(s) or [0.0] * (len(s.answer.ids) - len(s.forced))
        return list(itertools.accumulate(reversed(pull)))[::-1]

    def _counting(self, s: Sampled) -> int:
        """The tokens of an answer that are learned from; none where nobody knows what it is worth."""
        is_left_out = self.preset.grpo.leave_out_truncated and s.answer.finish == "length"
        return 0 if is_left_out or not s.reward.is_known else len(s.answer.ids) - len(s.forced)

    def _tells_apart(self, each: Told) -> bool:
        return not (self.preset.grpo.leave_out_alike and bool(is_alike(torch.tensor([each.rewards]))))

    def _judged(
        self, mine: list[list[Sampled]], every: Sequence[Told], kept: Sequence[int], step: int
    ) -> tuple[list[Sampled], Values]:
        """This process's groups among those kept, with advantages and weights, and how the advantages are spread.

        Where none is left here, one that counts nothing stands in: all processes take part in an update.
        """
        process = self.bench.accelerator.process_index
        self.updates = 1
        if not kept:
            return [s._replace(weight=0.0) for s in mine[0]], {}
        known, by_token = [every[index] for index in kept], self.preset.grpo.kl_in == "tokens"
        advantages, shares = self._advantages(known), self._shares(known, step)
        place_of = {index: place for place, index in enumerate(kept)}
        here = [place_of.get(index) for index, each in enumerate(every) if each.process == process]
        judged = [
            s._replace(advantage=sum(each) / len(each), advantages=each if by_token else (), **share._asdict())
            for place, group in zip(here, mine, strict=True)
            if place is not None
            for s, each, share in zip(group, advantages[place], shares[place], strict=True)
        ]
        flat = torch.tensor([value for group in advantages for each in group for value in each])
        return judged or [s._replace(weight=0.0) for s in mine[0]], _spread(flat)

    def _advantages(self, kept: Sequence[Told]) -> list[list[list[float]]]:
        """Of each group and each of its answers: one for all of its tokens, or each token's own."""
        own, rewards = self.preset.grpo, torch.tensor([each.rewards for each in kept])
        how: dict[str, Any] = {"baseline": own.baseline, "scale": own.scale_advantages}
        if own.kl_in != "tokens":
            return [[[value] for value in row] for row in group_advantages(rewards, **how).tolist()]
        flat = iter(token_advantages(rewards, [ahead for each in kept for ahead in each.ahead], **how))
        return [[next(flat).tolist() for _ in each.rewards] for each in kept]

    def _shares(self, kept: Sequence[Told], step: int) -> list[list[Share]]:
        """Of each group and each of its answers: in which update it counts, and how much."""
        own, counting = self.preset.grpo, torch.tensor([each.counting for each in kept])
        constant = own.constant_length or self.preset.rollout.max_new_tokens
        cut = self._cut(len(kept), step)
        self.updates = len(cut)
        shares: list[list[Share]] = [[] for _ in kept]
        for update, members in enumerate(cut):
            weights = token_weights(counting[members], aggregation=own.aggregation, constant=constant)
            tokens = float(counting[members].sum())
            for place, row in zip(members, weights.tolist(), strict=True):
                shares[place] = [Share(weight, update, tokens) for weight in row]
        return shares

    def _cut(self, count: int, step: int) -> list[list[int]]:
        """The groups of each update of a step: whole ones, each once, in an order of the step's own."""
        parts = self.preset.grpo.minibatches
        if parts == 1:
            return [list(range(count))]
        order = torch.randperm(count, generator=torch.Generator().manual_seed(mix(self.preset.seed, step))).tolist()
        size = -(-count // parts)
        return [sorted(order[start : start + size]) for start in range(0, count, size)]

    # -------------------------------------------------------------------------------------------- which prompts

    def _rows(self, step: int, turn: int) -> list[int]:
        """The rows that a turn of a step asks: those due, and others in place of the ones that are retired."""
        wanted, retired = self.preset.training.batch_size, self.retired
        found: list[int] = []
        due: list[int] = []
        for order in range(ORDERS if retired else 1):
            due = self._due(step, (turn, order) if turn or order else ())
            found += [row for row in due if row not in retired]
            if len(found) >= wanted:
                return found[:wanted]
        return [*found, *due][:wanted]

    def _due(self, step: int, another: tuple[int, ...]) -> list[int]:
        preset, table = self.preset, self.bench.train
        return rows_of_step(
            step,
            batch_size=preset.training.batch_size,
            n_rows=len(table.rows),
            seed=mix(preset.seed, *another) if another else preset.seed,
            shuffle=preset.data.shuffle or bool(another),
            parts=table.parts,
        )

    def _retire(self, step: int, every: Sequence[Told], limit: float) -> None:
        for each in every:
            known = [reward for reward in each.rewards if math.isfinite(reward)]
            if each.row not in self.retired and known and sum(known) / len(known) >= limit:
                self.retired[each.row] = step
                if self.bench.accelerator.is_main_process:
                    jsonl.append_line(self.bench.folder / RETIRED, json.dumps({"step": step, "row": each.row}))

    def _recall(self, step: int) -> None:
        """What earlier lives of the run retired before `step`; what they did after it does not count."""
        if self.is_recalled or self.preset.grpo.retire_at is None:
            return
        self.is_recalled = True
        file = self.bench.folder / RETIRED
        if self.bench.accelerator.is_main_process:
            jsonl.end_torn_line(file)
        for line in jsonl.follow(file):
            with suppress(ValueError, KeyError):  # a line that a killed run left half
                kept = json.loads(line)
                if kept["step"] < step:
                    self.retired.setdefault(kept["row"], kept["step"])


def _spread(advantages: Tensor) -> Values:
    """How the advantages of a step lie."""
    flat = advantages.double()
    named = {"std": flat.std(correction=0), "min": flat.min(), "max": flat.max()}
    return _marks("advantages", advantages) | {f"advantages/{name}": Mean(value, 1) for name, value in named.items()}


def _marks(name: str, values: Tensor) -> Values:
    """What a tenth, half and nine tenths of a step's values are below; of all processes, so the same on each."""
    marks = torch.quantile(values.flatten().double(), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)).tolist()
    return {f"{name}/{mark}": Mean(value, 1) for mark, value in zip(("p10", "p50", "p90"), marks, strict=True)}

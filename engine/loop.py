"""The one training loop: batches, loss, backward, clip, step, report, obey. It never names a method."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from accelerate import Accelerator
from torch import Tensor, nn

from engine.contract import events, settings
from engine.data.chat import Example
from engine.reporting import Reporter
from engine.tally import Mean, Tally, Values


class Update(NamedTuple):
    """What one optimiser update learns from on this process, cut to fit into memory.

    tokens: how many tokens it reads. values: what is known before learning from it.
    """

    micro_batches: Sequence[Any]
    tokens: int
    values: Values


@dataclass(frozen=True)
class Material:
    """What a method learns from, item by item, for who wants to look at it before the first step.

    items: what the model reads of each; one sequence, or several with their names, as a pair has.
    update(places): what an update learns from the items at these places. held_out: like items; it only measures.
    left_out: why rows cannot be learned from -> which, from 1.
    sampled: tokens that the model writes after each sequence itself, at most; 0 where all is given.
    by_token: whether tokens count in the loss one by one; else a sequence counts as a whole, as for a reward.
    """

    items: Sequence[Sequence[Example]]
    update: Callable[[Sequence[int]], Update]
    held_out: Sequence[Sequence[Example]] = ()
    left_out: Mapping[str, Sequence[int]] = field(default_factory=dict)
    sampled: int = 0
    by_token: bool = True


@dataclass(frozen=True)
class Method:
    """A method of training is two functions, a third that measures, and what it learns from.

    batches(step) gives the updates of a step. loss(micro_batch) gives a share of the update's loss: shares add up over
    micro-batches and processes. measure(step) gives values on held-out data, often none. material() is for looking at.
    """

    batches: Callable[[int], Iterator[Update]]
    loss: Callable[[Any], tuple[Tensor, Values]]
    measure: Callable[[int], dict[str, float]]
    material: Callable[[], Material] | None = None


class Control(Protocol):
    """What the loop asks between its steps."""

    def breathe(self) -> None:
        """Called often; raises StopNow when the run is to end at once."""

    def after_step(self, step: int) -> "Wish":
        """What is wanted of the loop now; waits while the run is paused."""


class Wish(NamedTuple):
    save: bool = False
    stop: bool = False


class StopNow(Exception):  # noqa: N818 - a request, not an error
    """Leave at once, without finishing the step."""


class Diverged(ValueError):  # noqa: N818 - reads as what happened
    """The loss is no number any more."""


@dataclass
class Progress:
    """Where the run stands: the steps done and the tokens read so far."""

    step: int = 0
    tokens: int = 0


def train(
    method: Method,
    *,
    scorer: nn.Module,
    optimizer: Any,
    accelerator: Accelerator,
    settings: settings.Optimizer,
    steps: int,
    progress: Progress,
    reporter: Reporter,
    control: Control,
    save: Callable[[Progress], None],
    checkpoint_every: int,
) -> bool:
    """Run the steps after `progress` up to `steps`. Returns False if it was asked to stop before the last.

    Raises StopNow when told to leave within a step, Diverged when loss or gradient is not finite.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    while progress.step < steps:
        step = progress.step + 1
        started = time.perf_counter()
        _set_learning_rate(optimizer, learning_rate(step, steps, settings))
        values = _one_step(method, step, scorer, optimizer, trained, accelerator, settings, progress, control)
        progress.step = step
        seconds = time.perf_counter() - started
        values |= {"learning_rate": optimizer.param_groups[0]["lr"], "step_time": seconds}
        values["tokens_per_second"] = values.pop("step_tokens") / seconds
        reporter.event(events.Step(step=step, time=time.time(), values=values))
        _refuse_nonsense(step, values)
        if measured := method.measure(step):
            reporter.event(events.Evaluation(step=step, time=time.time(), values=measured))
        wish = control.after_step(step)
        is_due = bool(checkpoint_every) and step % checkpoint_every == 0
        if is_due or wish.save or wish.stop or step == steps:
            save(progress)
        if wish.stop and step < steps:
            return False
    return True


def _one_step(
    method: Method,
    step: int,
    scorer: nn.Module,
    optimizer: Any,
    trained: list[Tensor],
    accelerator: Accelerator,
    settings: settings.Optimizer,
    progress: Progress,
    control: Control,
) -> dict[str, float]:
    tally, tokens = Tally(), 0
    for update in method.batches(step):
        tally.add(update.values)
        tokens += update.tokens
        last = len(update.micro_batches) - 1
        for index, micro_batch in enumerate(update.micro_batches):
            control.breathe()
            # Gradients of the processes meet once an update, with its last micro-batch.
            alone = contextlib.nullcontext() if index == last else accelerator.no_sync(scorer)
            with alone, accelerator.autocast():
                share, values = method.loss(micro_batch)
                # DDP takes the mean over processes; shares are to be summed.
                accelerator.backward(share * accelerator.num_processes)
            tally.add(
                {"loss": Mean(share.detach(), 1 / (accelerator.num_processes * len(update.micro_batches))), **values}
            )
        limit = settings.max_grad_norm or math.inf
        grad_norm = accelerator.clip_grad_norm_(trained, limit)
        tally.add({"grad_norm": Mean(grad_norm, 1)})
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    tally.add({"step_tokens": Mean(tokens, 1 / accelerator.num_processes)})
    means = tally.means(accelerator)
    progress.tokens += round(means["step_tokens"])
    return {**means, "num_tokens": float(progress.tokens)}


def learning_rate(step: int, steps: int, settings: settings.Optimizer) -> float:
    """The learning rate of `step` (from 1): it depends on nothing else, so there is no scheduler to save.

    Warm-up rises linearly from 0; linear and cosine then fall to 0 just after the last step, as in transformers.
    """
    done = step - 1
    if done < settings.warmup_steps:
        return settings.learning_rate * done / settings.warmup_steps
    share = (done - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    fall = {"constant": 1.0, "linear": 1 - share, "cosine": 0.5 * (1 + math.cos(math.pi * share))}
    return settings.learning_rate * fall[settings.schedule]


def _set_learning_rate(optimizer: Any, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _refuse_nonsense(step: int, values: dict[str, float]) -> None:
    wrong = [name for name in ("loss", "grad_norm") if not math.isfinite(values.get(name, 0.0))]
    if wrong:
        raise Diverged(
            f"{' and '.join(wrong)} became {values[wrong[0]]} at step {step}\n"
            "lower optimizer.learning_rate or optimizer.max_grad_norm, then start again from the last checkpoint"
        )

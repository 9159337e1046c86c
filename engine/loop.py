"""The one training loop: batches, loss, backward, clip, step, report, obey. It never names a method."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from engine.contract import events, settings
from engine.data.chat import Example
from engine.early_stopping import NOTHING_YET, Best, is_enough, judged
from engine.flops import Meter
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


def nothing_to_read() -> Material:
    """Of a method that does not learn from tokens."""
    return Material((), lambda places: Update((), 0, {}))


@dataclass(frozen=True)
class Method:
    """A method of training is two functions, a third that measures, and what it learns from.

    batches(step) gives the updates of a step. loss(micro_batch) gives a share of the update's loss: shares add up over
    micro-batches and processes. measure(step) gives values on held-out data, often none. material() is for looking at.
    memory(): what it knows of earlier steps beside the weights, if anything, to be saved; recall(memory) takes it back.
    """

    batches: Callable[[int], Iterator[Update]]
    loss: Callable[[Any], tuple[Tensor, Values]]
    measure: Callable[[int], dict[str, float]]
    material: Callable[[], Material] = nothing_to_read
    memory: Callable[[], dict[str, float]] | None = None
    recall: Callable[[dict[str, float]], None] | None = None


OnNan = Literal["stop", "skip", "go_on"]


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
    """Where the run stands: steps done, tokens read, updates left out, the best evaluation."""

    step: int = 0
    tokens: int = 0
    skipped: int = 0
    best: Best = NOTHING_YET


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
    on_nan: OnNan = "stop",
    early_stopping: settings.EarlyStopping | None = None,
    eval_before: bool = False,
    meter: Meter | None = None,
) -> bool:
    """Run the steps after `progress` up to `steps`, or until no better is measured. Returns False if asked to stop.

    eval_before: measure before the first step, too: what every later measure is compared with. Early stopping does not
    wait from there, as it would have no weights to go back to. meter: what a step's arithmetic is read from.
    Raises StopNow when told to leave within a step, Diverged when loss or gradient is not finite and on_nan is stop.
    """
    was_finite = True
    if eval_before and progress.step == 0:
        reporter.phase("measuring before the first step")
        _measure(method, 0, reporter)
    while progress.step < steps and not is_enough(progress.best, early_stopping):
        step = progress.step + 1
        started = time.perf_counter()
        rate = learning_rate(step, steps, settings)
        _set_learning_rate(optimizer, step, rate)
        values = _one_step(method, step, scorer, optimizer, accelerator, settings, progress, control, on_nan, meter)
        progress.step = step
        seconds = time.perf_counter() - started
        values |= {"learning_rate": rate, "step_time": seconds}
        values["tokens_per_second"] = values.pop("step_tokens") / seconds
        reporter.event(events.Step(step=step, time=time.time(), values=values))
        is_finite = not (wrong := not_finite(values))
        if wrong and (was_finite or on_nan == "stop"):  # told once, however long it lasts; the curve shows the rest
            _tell_nonsense(step, wrong, on_nan, reporter)
        was_finite = is_finite
        measured = _measure(method, step, reporter)
        is_best = early_stopping is not None and _judge(measured, progress, early_stopping, accelerator, reporter)
        wish = control.after_step(step)
        is_due = bool(checkpoint_every) and step % checkpoint_every == 0
        is_last = step == steps or is_enough(progress.best, early_stopping)
        if is_due or is_best or is_last or wish.save or wish.stop:
            save(progress)
        if wish.stop and not is_last:
            return False
    return True


def _measure(method: Method, step: int, reporter: Reporter) -> dict[str, float]:
    """What is measured after a step, and told."""
    if measured := method.measure(step):
        reporter.event(events.Evaluation(step=step, time=time.time(), values=measured))
    return measured


def _one_step(
    method: Method,
    step: int,
    scorer: nn.Module,
    optimizer: Any,
    accelerator: Accelerator,
    settings: settings.Optimizer,
    progress: Progress,
    control: Control,
    on_nan: OnNan,
    meter: Meter | None,
) -> dict[str, float]:
    spent = 0.0 if meter is None else meter.spent
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    tally, tokens, learning = Tally(), 0, 0.0
    for update in method.batches(step):
        started = time.perf_counter()
        tally.add(update.values)
        tokens += update.tokens
        last = len(update.micro_batches) - 1
        shares = []
        for index, micro_batch in enumerate(update.micro_batches):
            control.breathe()
            # Gradients of the processes meet once an update, with its last micro-batch.
            alone = contextlib.nullcontext() if index == last else accelerator.no_sync(scorer)
            with alone, accelerator.autocast():
                share, values = method.loss(micro_batch)
                # DDP takes the mean over processes; shares are to be summed.
                accelerator.backward(share * accelerator.num_processes)
            shares.append(share.detach())
            tally.add({"loss": Mean(shares[-1], 1 / (accelerator.num_processes * len(update.micro_batches))), **values})
        limit = settings.max_grad_norm or math.inf
        grad_norm = accelerator.clip_grad_norm_(trained, limit)
        if not _has_overflown(accelerator, grad_norm, shares):
            tally.add({"grad_norm": Mean(grad_norm, 1)})
        is_left_out = on_nan == "skip" and not _are_finite([grad_norm, *shares], accelerator)
        progress.skipped += is_left_out
        # In float16 the scaler leaves such an update out by itself; unless asked for it, it would never scale less.
        if not is_left_out or accelerator.scaler is not None:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        learning += time.perf_counter() - started
    tally.add({"step_tokens": Mean(tokens, 1 / accelerator.num_processes), "timing/train": Mean(learning, 1)})
    if meter is not None:
        tally.add({"step_flops": Mean(meter.spent - spent, 1 / accelerator.num_processes)})
    means = tally.means(accelerator)
    progress.tokens += round(means["step_tokens"])
    left_out = {"skipped_updates": float(progress.skipped)} if on_nan == "skip" else {}
    return {**means, **left_out, "num_tokens": float(progress.tokens)}


def _has_overflown(accelerator: Accelerator, grad_norm: Tensor | float, shares: Sequence[Tensor]) -> bool:
    """Whether a gradient was too large for float16 only because of what it is scaled by, as in the first updates of a
    run: such an update is left out, the next is scaled by half, and nothing is wrong. From a scale of 1 on, it is."""
    scaler = accelerator.scaler
    if scaler is None or math.isfinite(float(grad_norm)) or scaler.get_scale() <= 1:
        return False
    return _are_finite(shares, accelerator)


def _are_finite(numbers: Sequence[Tensor | float], accelerator: Accelerator) -> bool:
    """Whether all are, on every process: an update is applied by all of them or by none."""
    wrong = sum(not math.isfinite(float(number)) for number in numbers)
    return not accelerator.reduce(torch.tensor(wrong, device=accelerator.device)).item()


def _judge(
    measured: dict[str, float],
    progress: Progress,
    wish: settings.EarlyStopping,
    accelerator: Accelerator,
    reporter: Reporter,
) -> bool:
    """Keep in `progress` what an evaluation says of the run; whether it is the best so far, on all processes alike."""
    best = judged(progress.best, measured, progress.step, wish)
    if accelerator.num_processes > 1:  # some measures are known to the first process alone
        best = broadcast_object_list([best])[0]
    is_best, progress.best = best.step > progress.best.step, best
    if is_enough(best, wish):
        found = f"since step {best.step}, when it was {best.value:.6g}" if best.step else "and never was a number"
        what = f"ended early at step {progress.step}: {wish.metric} has not become better {found}"
        reporter.notice("info", what, f"final/ holds the weights of step {best.step or progress.step}")
    return is_best


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


def _set_learning_rate(optimizer: Any, step: int, rate: float) -> None:
    """A group of weights may learn at a multiple of the rate (`lr_scale`), or not until a step (`rests_until`)."""
    for group in optimizer.param_groups:
        rests = step <= group.get("rests_until", 0)
        group["lr"] = 0.0 if rests else rate * group.get("lr_scale", 1.0)


def not_finite(values: dict[str, float]) -> str:
    """What of loss and gradient is no number, in words; empty if nothing is."""
    wrong = [name for name in ("loss", "grad_norm") if not math.isfinite(values.get(name, 0.0))]
    return f"{' and '.join(wrong)} became {values[wrong[0]]}" if wrong else ""


def _tell_nonsense(step: int, wrong: str, on_nan: OnNan, reporter: Reporter) -> None:
    remedy = "lower optimizer.learning_rate or optimizer.max_grad_norm"
    if on_nan == "stop":
        raise Diverged(f"{wrong} at step {step}\n{remedy}, then start again from the last checkpoint")
    outcome = "the update was left out" if on_nan == "skip" else "the run goes on, and its weights may be of no use"
    reporter.notice("warning", f"{wrong} at step {step}; {outcome}", f"if it stays so, {remedy}")

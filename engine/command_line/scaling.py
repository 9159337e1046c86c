"""`scaling`: where a run's held-out reward is heading as compute grows, and whether that can be told yet."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.command_line import terminal
from engine.command_line.arguments import share
from engine.contract.faults import Fault, PresetError
from engine.contract.run_dir import RunDir, is_run_dir

if TYPE_CHECKING:
    from engine.evaluation.scaling import BackTest, Curve, Fit, Range

FINISHED = 0
#: What compute can be counted in, and the value of a step that tells it.
COMPUTE = {"tokens": "num_tokens", "seconds": "step_time", "flops": "step_flops"}
#: Of the compute, left out: it tells of the warm-up, not of the curve.
EARLY = 0.1


def add(command: argparse.ArgumentParser) -> None:
    """The arguments of `scaling`."""
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN_DIR", help="runs that measure held-out data")
    command.add_argument("--metric", default="eval_reward", metavar="NAME", help="what rises (default: eval_reward)")
    command.add_argument(
        "--compute", choices=list(COMPUTE), default="tokens", help="what it is set against (default: tokens)"
    )
    command.add_argument(
        "--ceiling", type=float, metavar="R", help="the largest value there can be, e.g. 1 for a share of right answers"
    )
    command.add_argument(
        "--start", type=float, metavar="R", help="the value before training (default: that of step 0, or fitted)"
    )
    command.add_argument(
        "--early",
        type=share,
        default=EARLY,
        metavar="SHARE",
        help=f"leave out what was measured in this share of the compute (default: {EARLY:g})",
    )
    command.set_defaults(command=scaling_command)


def scaling_command(options: argparse.Namespace) -> int:
    """Raises PresetError for runs that no curve can be fitted to, each with its reason."""
    from engine.evaluation.scaling import ScalingError

    told, faults = [], []
    for path in options.runs:
        try:
            told.append(_fitted(path, options))
        except ScalingError as error:
            problem, _, remedy = str(error).partition("; ")
            faults.append(Fault((), str(path), problem, remedy or "name another run"))
    if faults:
        raise PresetError("scaling", faults)
    if options.json:
        terminal.say_json([_as_json(path, options, *each) for path, each in zip(options.runs, told, strict=True)])
        return FINISHED
    for path, each in zip(options.runs, told, strict=True):
        _show(path, options, *each)
    return FINISHED


def _fitted(path: Path, options: argparse.Namespace) -> tuple["Curve", "Fit", "BackTest | None"]:
    from engine.evaluation.run_curve import curve_of_run
    from engine.evaluation.scaling import ScalingError, back_test, fit

    if not is_run_dir(path):
        raise ScalingError("is not a run directory; name one, it has a preset.yaml and an events.jsonl")
    curve = curve_of_run(
        RunDir(path.resolve()),
        metric=options.metric,
        compute=COMPUTE[options.compute],
        early=options.early,
        start=options.start,
    )
    return curve, fit(curve, ceiling=options.ceiling), back_test(curve, ceiling=options.ceiling)


def _show(path: Path, options: argparse.Namespace, curve: "Curve", found: "Fit", back: "BackTest | None") -> None:
    last = terminal.figure(curve.reward[-1])
    terminal.say(f"{path}: {options.metric} is {last} after {_many(curve.compute[-1])} {options.compute}")
    if found.doubts:
        least = f"; it is at least {terminal.figure(found.asymptote.low)} (95%)" if found.rises else ""
        terminal.say(f"where it is heading cannot be told yet: {'; '.join(found.doubts)}{least}")
    else:
        rows = [
            ("", "best", "95% interval"),
            ("heading for", *_range(found.asymptote, terminal.figure)),
            ("half of it done at", *_range(found.middle, _many)),
            ("steepness B", *_range(found.exponent, terminal.figure)),
        ]
        terminal.show_table(rows)
        terminal.say("of these held-out prompts: what others would add in uncertainty is not in the intervals")
    if back is not None:
        terminal.say(
            f"fitted to the first half of the measurements, the curve was off by {terminal.figure(back.mean_error)} on "
            f"average over the second, {back.inside:.0%} of which it had within its band"
        )


def _range(found: "Range", write: Any) -> tuple[str, str]:
    return write(found.value), f"{write(found.low)} to {write(found.high)}"


def _many(value: float) -> str:
    return f"{value:,.0f}" if value < 1e7 else f"{value:.3g}"


def _as_json(
    path: Path, options: argparse.Namespace, curve: "Curve", found: "Fit", back: "BackTest | None"
) -> dict[str, Any]:
    """All that a plot needs."""
    return {
        "run": str(path),
        "metric": options.metric,
        "unit": options.compute,
        "points": {"compute": curve.compute.tolist(), "value": curve.reward.tolist()},
        "start": found.start,
        "asymptote": found.asymptote._asdict(),
        "exponent": found.exponent._asdict(),
        "middle": found.middle._asdict(),
        "scatter": found.scatter,
        "identified": found.is_identified,
        "doubts": found.doubts,
        "band": {name: values.tolist() for name, values in found.band._asdict().items()},
        "back_test": None if back is None else back._asdict(),
    }

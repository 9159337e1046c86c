"""The engine's commands: `python -m engine COMMAND`. None imports torch before it has to; training never does here."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import processes
from engine.command_line import (
    deep_check,
    draw,
    evaluate,
    export,
    following,
    items,
    label_files,
    order,
    plan,
    sample,
    scaling,
    stopping,
    terminal,
    tour,
    under_launcher,
    vote,
)
from engine.contract import run_dir
from engine.contract.faults import Fault, PresetError
from engine.contract.labels import LabelDir
from engine.contract.run_dir import RunDir
from engine.contract.status import Status, summarise
from engine.starting import launch

FINISHED, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 3
EXIT_CODES = "Exit codes: 0 finished, 1 failed, 2 bad preset or arguments (nothing was written), 3 stopped on request."
OTHER_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 bad arguments (nothing was written), 3 interrupted."
Farewell = Callable[..., str]
SET_HELP = "replace one setting, e.g. training.steps=50; may be given again"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Every failure is told in a plain paragraph."""
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except PresetError as error:
        terminal.complain_of(error.file, error.faults, as_json=options.json)
        return BAD_INPUT
    except launch.LaunchError as error:
        fault = Fault((), "", error.problem, error.remedy)
        terminal.complain_of(str(getattr(options, "run_dir", "") or ""), [fault], as_json=options.json)
        return BAD_INPUT
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        # Whoever read our output went away, as `head` does; the run itself goes on.
        sys.stderr.close()
        return FAILED
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        terminal.complain(f"{place}{error.strerror or error}; check the path, its permissions and the free space")
        return FAILED


def parser() -> argparse.ArgumentParser:
    """Every command and its arguments."""
    whole = argparse.ArgumentParser(prog="python -m engine", description=__doc__, epilog=EXIT_CODES)
    add = whole.add_subparsers(title="commands", metavar="COMMAND", required=True).add_parser
    run = add("run", help="train by a preset, and show it", epilog=EXIT_CODES)
    run.add_argument("preset", type=Path, metavar="PRESET", help="a preset file")
    run.add_argument("run_dir", type=Path, nargs="?", metavar="RUN_DIR", help="where; else runs/<time>-<name>")
    _preset_options(run)
    _detach_option(run, "start it and return; print where it writes")
    run.set_defaults(command=run_command)

    resume = add("resume", help="go on from a run's last whole checkpoint", epilog=EXIT_CODES)
    resume.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    _detach_option(resume, "start it and return")
    resume.set_defaults(command=resume_command)

    check = add("check", help="validate a preset, look at its data, try one step; writes nothing", epilog=EXIT_CODES)
    check.add_argument("preset", type=Path, metavar="PRESET")
    check.add_argument("--quick", action="store_true", help="only what shows in a moment, without loading the model")
    _preset_options(check)
    check.set_defaults(command=check_command)

    stop = add("stop", help="ask a run, or what fills a labelling set, to stop, and wait until it has")
    stop.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    stop.add_argument("--now", action="store_true", help="at once; the work since the last checkpoint is lost")
    stop.set_defaults(command=stop_command)

    listing = add("list", help="runs, how they stand, their last metrics")
    listing.add_argument("workspace", type=Path, nargs="?", default=Path(), metavar="WORKSPACE")
    listing.set_defaults(command=list_command)

    touring = add("tour", help="the two-minute first run: two presets, one after the other", epilog=EXIT_CODES)
    touring.add_argument("workspace", type=Path, metavar="WORKSPACE")
    _detach_option(touring, "start it and return")
    touring.set_defaults(command=tour_command)

    filling = add("items", help="fill a labelling set with what people are to judge", epilog=EXIT_CODES)
    items.add_options(filling)
    _detach_option(filling, "start it and return; print where it tells how it stands")
    filling.set_defaults(command=items_command)

    for command in (run, resume, check, stop, listing, touring, filling, *_commands_of_models_and_data(add)):
        command.add_argument("--json", action="store_true", help="print JSON for scripts")
    return whole


def _commands_of_models_and_data(add: Callable[..., argparse.ArgumentParser]) -> list[argparse.ArgumentParser]:
    """Those that start no run."""
    sampling = add("sample", help="answers or pictures from any model or run", epilog=OTHER_EXIT_CODES)
    sample.add(sampling)
    sampling.set_defaults(command=sample_command, detach=False)
    evaluating = add("evaluate", help="score a model on held-out data", epilog=OTHER_EXIT_CODES)
    evaluate.add(evaluating)
    fitting = add("scaling", help="where a run's held-out reward is heading as compute grows", epilog=OTHER_EXIT_CODES)
    scaling.add(fitting)
    exporting = add(
        "export", help="hand a run's model or a labelling set on, in the form that others open", epilog=OTHER_EXIT_CODES
    )
    export.add(exporting)
    importing = add("import", help="make a labelling set of judgements from elsewhere", epilog=OTHER_EXIT_CODES)
    label_files.add_import(importing)
    voting = add("vote", help="let a model judge the pairs of a labelling set, beside people", epilog=OTHER_EXIT_CODES)
    vote.add(voting)
    ordering = add("order", help="let reward models choose what is judged first", epilog=OTHER_EXIT_CODES)
    order.add(ordering)
    return [sampling, evaluating, fitting, exporting, importing, voting, ordering]


def _preset_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=SET_HELP)
    command.add_argument(
        "--workspace", type=Path, default=Path(), metavar="DIR", help="its runs/ holds the runs (default: this folder)"
    )


def _detach_option(command: argparse.ArgumentParser, help_text: str) -> None:
    command.add_argument("--detach", action="store_true", help=help_text)


# ------------------------------------------------------------------------------------------------------ commands


def run_command(options: argparse.Namespace) -> int:
    """`run`. Raises PresetError, LaunchError."""
    if under_launcher.is_one_of_several():
        return _run_under_launcher(options)
    prepared = launch.prepare(options.preset, options.overrides, workspace=options.workspace, at=options.run_dir)
    return _shown(launch.start(prepared), 0, options)


def _run_under_launcher(options: argparse.Namespace) -> int:
    overrides = [*options.overrides, *under_launcher.overrides()]

    def make() -> RunDir:
        prepared = launch.prepare(options.preset, overrides, workspace=options.workspace, at=options.run_dir)
        return launch.create(prepared)

    return under_launcher.run_here(make, options.workspace)


def resume_command(options: argparse.Namespace) -> int:
    """`resume`. Raises LaunchError, PresetError."""
    if under_launcher.is_one_of_several():
        return under_launcher.run_here(lambda: launch.resumable(options.run_dir), options.run_dir)
    offset = following.size_of(RunDir(options.run_dir).events)
    return _shown(launch.resume(options.run_dir), offset, options)


def _shown(run: RunDir, offset: int, options: argparse.Namespace, *, farewell: Farewell = terminal.farewell) -> int:
    """Say where the run is; and unless it is on its own, show it until it ends."""
    if options.detach:
        _tell_where(run, as_json=options.json)
        return FINISHED
    if not options.json:
        terminal.say(f"run directory: {run.path}")
    status, code = _follow(run, offset, to_stderr=options.json, farewell=farewell)
    if options.json:
        told = {"run_dir": str(run.path), "state": status.state, "sentence": status.sentence, "exit_code": code}
        terminal.say_json(told)
    return code


def _tell_where(run: RunDir, *, as_json: bool) -> None:
    if as_json:
        terminal.say_json({"run_dir": str(run.path)})
    else:
        terminal.say(str(run.path))


def _follow(run: RunDir, offset: int, *, to_stderr: bool, farewell: Farewell = terminal.farewell) -> tuple[Status, int]:
    started = time.monotonic()
    with terminal.display(to_stderr=to_stderr) as display:
        progress, status = following.follow(run, offset, display)
    text = farewell(run, progress, status, seconds=time.monotonic() - started)
    code = {"finished": FINISHED, "stopped": STOPPED}.get(status.state, FAILED)
    if to_stderr or code == FAILED:
        terminal.complain(text)
    else:
        terminal.say(text)
    return status, code


def check_command(options: argparse.Namespace) -> int:
    """`check`. Raises PresetError."""
    prepared = launch.prepare(options.preset, options.overrides, workspace=options.workspace)
    told = plan.as_json(prepared)
    if not options.json:
        for line in plan.as_lines(prepared):
            terminal.say(line)
    if not options.quick:
        told["preflight"] = _look_deeper(prepared, options)
    if options.json:
        terminal.say_json(told)
    return FINISHED


def _look_deeper(prepared: launch.Prepared, options: argparse.Namespace) -> dict[str, Any] | None:
    """The engine's report, shown unless it is for a script. Raises PresetError if the engine refuses the run."""
    with terminal.display(to_stderr=options.json) as display:
        outcome = deep_check.examine(prepared, display)
    if outcome.report is not None and not options.json:
        from engine.command_line import report  # rich takes a tenth of a second to load

        report.show(outcome.report)
    if outcome.faults:
        raise PresetError(str(options.preset), outcome.faults)
    return None if outcome.report is None else outcome.report.model_dump(mode="json")


def stop_command(options: argparse.Namespace) -> int:
    """`stop`. Raises LaunchError, OSError."""
    filled = LabelDir(options.run_dir.resolve()).generation
    if not run_dir.is_run_dir(options.run_dir) and not filled.is_dir():
        raise launch.LaunchError(f"{options.run_dir} is not a run directory", launch.HOW_TO_NAME_A_RUN)
    run = RunDir(filled if filled.is_dir() else options.run_dir.resolve())
    say = terminal.complain if options.json else terminal.say
    was_running = stopping.stop(run, now=options.now, say=say)
    summary = summarise(run)
    if options.json:
        terminal.say_json(terminal.run_as_json(summary) | {"was_running": was_running})
        return FINISHED
    how = f"{summary.status.state}, step {summary.step}" + (f": {s}" if (s := summary.status.sentence) else "")
    terminal.say(f"{'' if was_running else 'nothing to stop: '}{run.path} is {how}")
    return FINISHED


def list_command(options: argparse.Namespace) -> int:
    """`list`."""
    summaries = [summarise(run) for run in run_dir.list_runs(options.workspace / "runs")]
    if options.json:
        terminal.say_json([terminal.run_as_json(summary) for summary in summaries])
    elif summaries:
        terminal.show_runs(summaries, time.time())
    else:
        terminal.say(f"no runs in {(options.workspace / 'runs').resolve()}; start one: python -m engine run PRESET")
    return FINISHED


def items_command(options: argparse.Namespace) -> int:
    """`items`. Raises PresetError, LaunchError."""
    if options.demo:
        _tell_where(RunDir(items.demo(options).path), as_json=options.json)
        return FINISHED
    if options.check:
        return items.check(options)
    generation = LabelDir(options.workspace.resolve() / "labels" / options.set).generation
    offset = following.size_of(RunDir(generation).events)
    return _shown(items.start(options), offset, options, farewell=items.farewell)


def sample_command(options: argparse.Namespace) -> int:
    """`sample`. Raises PresetError, LaunchError."""
    if not draw.is_asked_for(options):
        return sample.sample_command(options)
    run = draw.start(options)
    code = _shown(run, 0, options)
    if options.from_picture is not None and code == FINISHED and (told := draw.compared(options.from_picture, run)):
        (terminal.complain if options.json else terminal.say)(told)
    return code


def tour_command(options: argparse.Namespace) -> int:
    """`tour`. Raises PresetError, LaunchError."""
    if options.detach:
        return _detach_tour(options)

    def show(prepared: launch.Prepared) -> tuple[RunDir, int]:
        run = launch.start(prepared)
        if not options.json:
            terminal.say(f"{prepared.name}: {run.path}")
        return run, _follow(run, 0, to_stderr=options.json)[1]

    code, summary = tour.run(options.workspace, show)
    if options.json:
        terminal.say_json(_tour_as_json(code, summary))
    elif summary is not None:
        for line in summary.lines():
            terminal.say(line)
    return code


def _tour_as_json(code: int, summary: tour.Summary | None) -> dict[str, Any]:
    if summary is None:
        return {"exit_code": code}
    told = {"first_5": summary.first, "last_20": summary.last, "seconds": summary.seconds}
    return {"exit_code": code, **told, "run_dir": str(summary.run.path)}


def _detach_tour(options: argparse.Namespace) -> int:
    """Start the same command in a session of its own; both runs show up in the workspace. Raises PresetError."""
    tour.check(options.workspace)
    runs = options.workspace.resolve() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    with (runs.parent / "tour.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "engine", "tour", str(options.workspace.resolve())],
            env=launch.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **processes.detached(),
        )
    told = {"workspace": str(options.workspace.resolve()), "pid": process.pid}
    launch.let_go(process)
    if options.json:
        terminal.say_json(told)
    else:
        terminal.say(f"the tour runs in {told['workspace']}")
    return FINISHED


if __name__ == "__main__":
    sys.exit(main())

"""What the palette lists beside actions: the runs, presets and labelling sets of the workspace."""

from collections.abc import Callable, Iterable
from pathlib import Path

from engine.contract.labels import LabelDir
from workbench.io.label_sets import Summary
from workbench.state.run_index import RunIndex
from workbench.views.palette import Entry


def of_runs(index: RunIndex, show: Callable[[Path], None]) -> list[Entry]:
    def entry(path: Path, name: str, state: str) -> Entry:
        return Entry(name, "run", f"{state}  {path.name[:15]}", lambda: show(path))

    return [entry(s.run.path, s.run.name, s.status.state) for s in index.newest_first()]


def of_presets(paths: Iterable[Path], show: Callable[[Path], None]) -> list[Entry]:
    def entry(path: Path) -> Entry:
        return Entry(path.stem, "preset", path.parent.name, lambda: show(path))

    return [entry(path) for path in paths]


def of_sets(summaries: Iterable[Summary], show: Callable[[LabelDir], None]) -> list[Entry]:
    def entry(summary: Summary) -> Entry:
        hint = f"{summary.judged} of {summary.items}"
        return Entry(summary.name, "set", hint, lambda: show(summary.label_dir), not summary.fault)

    return [entry(summary) for summary in summaries]

"""What happened to a run beside its steps: notices, damage, checkpoints, requests."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from PySide6.QtWidgets import QWidget

from engine.contract.metrics import describe
from workbench import theme
from workbench.state import figures
from workbench.state.run import RunState
from workbench.theme import Theme
from workbench.views.labels import column, label
from workbench.views.tables import Column, PlainTable

SHOWN = 500
COLUMNS = (Column("step", 80, is_figure=True), Column("time", 92, is_figure=True), Column("what", 320), Column("more"))
WHAT = 2
ICONS = {"info": "", "warning": "warning", "error": "failed", "good": "check"}
TOKENS = {"info": "muted", "warning": "warning", "error": "failed", "good": "finished"}


@dataclass(frozen=True)
class Happening:
    """time: seconds since the epoch; 0 where nobody knows. level: info, good, warning, error."""

    time: float
    step: int
    level: str
    what: str
    more: str = ""


def happenings(state: RunState) -> list[Happening]:
    """Everything worth telling, newest first; what needs attention now stands on top."""
    return [*_faults(state), *sorted(_told(state), key=lambda one: one.time, reverse=True)][:SHOWN]


def _faults(state: RunState) -> Iterator[Happening]:
    if state.is_newer:
        more = "what this version knows is shown; update to see the rest"
        yield Happening(0, 0, "warning", "This run was written by a newer version", more)
    for name, steps in state.not_finite().items():
        where = f"first at step {figures.count(steps[0])}" + (f", {len(steps)} times" if len(steps) > 1 else "")
        yield Happening(0, steps[0], "error", f"{describe(name).title} is not a number", where)
    if state.unreadable_count:
        count = state.unreadable_count
        what = "1 line could not be read" if count == 1 else f"{figures.count(count)} lines could not be read"
        newest = state.unreadable[-1] if state.unreadable else None
        more = f"{newest.reason}: {newest.text[:120]}" if newest else ""
        yield Happening(0, 0, "warning", what, more)


def _told(state: RunState) -> Iterator[Happening]:
    for told in state.notices:
        notice = told.notice
        yield Happening(notice.time, told.step, notice.level, notice.what, notice.advice)
    for saved in state.checkpoints:
        yield Happening(saved.time, saved.step, "good", "Checkpoint", saved.path)
    for done in state.commands:
        yield Happening(done.time, done.step, "info", f"Asked: {done.ask.replace('_', ' ')}", done.outcome)
    for resumed in state.resumes:
        yield Happening(resumed.time, resumed.from_step, "info", "Resumed", "went on from this step")


class HealthPane(QWidget):
    """A sentence that sums it up, and the list."""

    def __init__(self) -> None:
        super().__init__()
        self._sum = label(role="muted", selectable=True)
        self._table = PlainTable("What happened", COLUMNS)
        self._sum.setContentsMargins(theme.SPACE[2], 0, 0, 0)
        self.setLayout(column(self._sum, self._table, space=1))
        self._colours = theme.LIGHT
        self._rows: list[Happening] = []

    def show_state(self, state: RunState) -> None:
        rows = happenings(state)
        if rows == self._rows and self._sum.text():
            return
        self._rows = rows
        self._sum.setText(_summary(rows))
        self._fill()

    def set_theme(self, colours: Theme) -> None:
        self._colours = colours
        self._fill()

    @property
    def told(self) -> list[str]:
        """What is listed, newest first."""
        return [row.what for row in self._rows]

    def _fill(self) -> None:
        self._table.setRowCount(len(self._rows))
        for at, one in enumerate(self._rows):
            clock = time.strftime("%H:%M:%S", time.localtime(one.time)) if one.time else ""
            cells = (figures.count(one.step) if one.step else "", clock, one.what, one.more)
            colours = (self._colours.colour("text" if at == WHAT else "muted") for at in range(len(cells)))
            mark = (
                theme.icon(ICONS[one.level], self._colours.colour(TOKENS[one.level]), 12) if ICONS[one.level] else None
            )
            for section, (text, colour) in enumerate(zip(cells, colours, strict=True)):
                self._table.set_cell(at, section, text, colour, mark if section == WHAT else None)


def _summary(rows: list[Happening]) -> str:
    errors = sum(row.level == "error" for row in rows)
    warnings = sum(row.level == "warning" for row in rows)
    parts = []
    if errors:
        parts.append("1 error" if errors == 1 else f"{errors} errors")
    if warnings:
        parts.append("1 warning" if warnings == 1 else f"{warnings} warnings")
    return " · ".join(parts) if parts else "Nothing needs your attention."

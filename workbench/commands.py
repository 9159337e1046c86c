"""Every action of the window, one row each: shortcuts, menus, buttons, palette and help read this table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QWidget

from engine.contract.commands import Ask
from engine.contract.status import Status

TABS = ("Completions", "Data", "Health", "Log", "Preset", "Files", "Trajectory", "Gallery", "Lab", "Curves")


def always() -> bool:
    return True


@dataclass(frozen=True)
class Command:
    """One action. shortcut: as Qt spells it, "" for none; several commands may share one if they are never
    enabled together. page: where the shortcut works, "" for everywhere: a bare letter or arrow belongs to one page,
    and to its lists and text fields elsewhere."""

    id: str
    title: str
    shortcut: str
    run: Callable[[], None]
    enabled: Callable[[], bool] = always
    page: str = ""


class RunActions(Protocol):
    """What a command may ask of the runs; `workbench.io.session.Session` does it."""

    @property
    def is_touring(self) -> bool: ...
    def ask(self, ask: Ask) -> None: ...
    def resume(self) -> None: ...
    def start_tour(self) -> None: ...


class Frame(Protocol):
    """What a command may ask of the window and its pages."""

    @property
    def page(self) -> str: ...
    @property
    def status(self) -> Status | None: ...
    @property
    def run_path(self) -> Path | None: ...
    def show_page(self, name: str) -> None: ...
    def go_back(self) -> None: ...
    def open_palette(self) -> None: ...
    def toggle_theme(self) -> None: ...
    def open_as_preset(self) -> None: ...
    def open_folder(self) -> None: ...
    def show_tab(self, name: str) -> None: ...
    def has_tab(self, name: str) -> bool: ...
    def step_run(self, by: int) -> None: ...
    def reset_zoom(self) -> None: ...
    def preset_command(self, name: str) -> None: ...
    @property
    def is_judging(self) -> bool: ...
    def judge(self, action: str) -> None: ...
    @property
    def pictures(self) -> str: ...
    def picture(self, action: str) -> None: ...
    def open_picture(self) -> None: ...
    def edit_keys(self) -> None: ...
    @property
    def is_at_desk(self) -> bool: ...
    @property
    def label_state(self) -> str: ...
    def label_set(self, action: str) -> None: ...
    def judge_run(self, *, compare: bool) -> None: ...
    def rejudge_run(self) -> None: ...
    def close(self) -> bool: ...


def table(frame: Frame, runs: RunActions) -> list[Command]:
    """All commands, in the order of the menus and the help page."""
    runs_and_presets = [*_run_commands(frame, runs), *_preset_commands(frame)]
    labels = [*_label_commands(frame), *_judge_commands(frame)]
    return [*runs_and_presets, *_picture_commands(frame), *labels, *_window_commands(frame)]


def remapped(commands: list[Command], keys: Mapping[str, object]) -> tuple[list[Command], list[str]]:
    """The table with a person's own keys, and what is wrong with them. keys: by id of a command, "" for no key."""
    known = [command.id for command in commands]
    taken: dict[str, str] = {}
    faults = []
    for name, key in keys.items():
        sequence = QKeySequence(str(key)).toString() if isinstance(key, str | int) else ""
        if name not in known:
            near = get_close_matches(name, known, n=1)
            faults.append(f"there is no action {name}" + (f"; did you mean {near[0]}?" if near else ""))
        elif not sequence and key != "":
            faults.append(f"{name}: {key!r} is no key; write one as in U or Ctrl+J")
        else:
            taken[name] = sequence
    return [replace(command, shortcut=taken.get(command.id, command.shortcut)) for command in commands], faults


def _run_commands(frame: Frame, runs: RunActions) -> list[Command]:
    def is_alive() -> bool:
        return frame.status is not None and frame.status.is_alive

    def can_pause() -> bool:
        return is_alive() and not is_paused()

    def is_paused() -> bool:
        return frame.status is not None and frame.status.state == "paused"

    def can_resume() -> bool:
        return frame.status is not None and (is_paused() or frame.status.state in ("stopped", "failed", "crashed"))

    def resume() -> None:
        if is_paused():
            runs.ask("resume")
        else:
            runs.resume()

    def has_run() -> bool:
        return frame.run_path is not None

    def has_tab(tab: str) -> Callable[[], bool]:
        return lambda: has_run() and frame.has_tab(tab)

    def can_save() -> bool:
        return is_alive() and frame.page == "runs"

    return [
        Command("run.pause", "Pause", "Ctrl+P", lambda: runs.ask("pause"), can_pause),
        Command("run.resume", "Resume", "Ctrl+R", resume, can_resume),
        Command("run.save", "Save now", "Ctrl+S", lambda: runs.ask("save"), can_save),
        Command("run.stop", "Stop after this step", "Ctrl+.", lambda: runs.ask("stop"), is_alive),
        Command("run.stop_now", "Stop now", "Ctrl+Shift+.", lambda: runs.ask("stop_now"), is_alive),
        Command("run.open_as_preset", "Open this run's preset as a new one", "", frame.open_as_preset, has_run),
        Command("run.open_folder", "Open this run's folder", "Ctrl+O", frame.open_folder, has_run),
        Command("run.next", "Next run", "Alt+Down", lambda: frame.step_run(1), has_run),
        Command("run.previous", "Previous run", "Alt+Up", lambda: frame.step_run(-1), has_run),
        Command("run.whole", "Show all steps", "Ctrl+0", frame.reset_zoom, has_run),
        *(
            Command(
                f"run.tab.{tab}", f"Show {tab.lower()}", f"Alt+{i % 10}", partial(frame.show_tab, tab), has_tab(tab)
            )
            for i, tab in enumerate(TABS, start=1)
        ),
        Command("tour.start", "Run the two-minute tour", "", runs.start_tour, lambda: not runs.is_touring),
    ]


def _preset_commands(frame: Frame) -> list[Command]:
    def on_page() -> bool:
        return frame.page == "presets"

    return [
        Command("preset.run", "Run this preset", "Ctrl+Return", lambda: frame.preset_command("run"), on_page),
        Command("preset.check", "Check this preset", "Ctrl+E", lambda: frame.preset_command("check"), on_page),
        Command(
            "preset.check_deeply",
            "Check deeply: look at the data, try a step",
            "Ctrl+Shift+Return",
            lambda: frame.preset_command("check_deeply"),
            on_page,
        ),
        Command("preset.save", "Save this preset", "Ctrl+S", lambda: frame.preset_command("save"), on_page),
    ]


def _label_commands(frame: Frame) -> list[Command]:
    """What is done with labelling sets beside judging them."""

    def at_desk() -> bool:
        return frame.page == "judge" and frame.is_at_desk

    def has_set() -> bool:
        return frame.page == "judge" and bool(frame.label_state)

    def is_filling() -> bool:
        return frame.label_state == "filling"

    def is_unfinished() -> bool:
        return frame.label_state == "unfinished"

    def is_at_run() -> bool:
        return frame.page == "runs" and frame.run_path is not None

    def do(action: str) -> Callable[[], None]:
        return partial(frame.label_set, action)

    def judge_run(*, compare: bool) -> Callable[[], None]:
        return partial(frame.judge_run, compare=compare)

    return [
        Command("labels.new", "New judging set", "Ctrl+N", do("new")),
        Command("labels.import", "Import judgements", "Ctrl+I", do("import")),
        Command("labels.export", "Export this judging set", "Ctrl+Shift+E", do("export"), has_set),
        Command("labels.train", "Train on this judging set", "Ctrl+Shift+T", do("train"), has_set),
        Command("labels.press", "Make, import or export what this page says", "Ctrl+Return", do("press"), at_desk),
        Command("labels.stop", "Stop writing items", "Alt+S", do("stop"), is_filling),
        Command("labels.go_on", "Go on writing items", "Alt+G", do("go_on"), is_unfinished),
        Command("labels.of_run", "Judge this run's answers", "Ctrl+J", judge_run(compare=False), is_at_run),
        Command(
            "labels.against_base", "Compare this run with its base", "Ctrl+Shift+J", judge_run(compare=True), is_at_run
        ),
        Command(
            "labels.rejudge", "Judge this run against its base at once", "Ctrl+Alt+J", frame.rejudge_run, is_at_run
        ),
    ]


def _judge_commands(frame: Frame) -> list[Command]:
    """What one says of a pair, a key each; the keys work on the page where the pair is."""

    def is_judging() -> bool:
        return frame.is_judging

    rows = [
        ("1", "A is much better, or answer 1", "1"),
        ("2", "A is better, or answer 2", "2"),
        ("3", "A is slightly better, or answer 3", "3"),
        ("4", "A tie, or answer 4", "4"),
        ("5", "B is slightly better, or answer 5", "5"),
        ("6", "B is better, or answer 6", "6"),
        ("7", "B is much better, or answer 7", "7"),
        ("8", "Answer 8", "8"),
        ("9", "Answer 9", "9"),
        ("left", "Prefer A", "Left"),
        ("right", "Prefer B", "Right"),
        ("tie", "Both are alike", "Down"),
        ("tie_too", "Both are alike (second key)", "T"),
        ("both_bad", "Both are bad", "B"),
        ("skip", "Skip this pair", "S"),
        ("undo", "Undo the last judgement", "Z"),
        ("redo", "Redo the judgement", "Shift+Z"),
        ("flag", "Flag this pair", "F"),
        ("note", "Note something about this pair", "N"),
        ("rank", "Rank all answers, best first", "R"),
        ("same_place", "Rank the next answer beside the last", "="),
        ("finish", "Rank the rest last, all alike", "Return"),
        ("difference", "Show which words differ", "D"),
        ("markdown", "Draw Markdown, or show it as it was written", "M"),
        ("blink", "Let the pictures change places, while it is held", "X"),
        ("zoom_in", "Look closer at the pictures", "+"),
        ("zoom_out", "Look at more of the pictures", "-"),
        ("zoom_whole", "Show the whole pictures", "0"),
        ("guideline", "Show the guideline", "?"),
        ("settle", "Settle where people disagree, or go back", "A"),
        ("pause", "Pause, or go on judging", "P"),
    ]
    return [
        Command(f"judge.{action}", title, key, partial(frame.judge, action), is_judging, page="judge")
        for action, title, key in rows
    ]


def _picture_commands(frame: Frame) -> list[Command]:
    """What is done with a run's pictures; the keys work where the pictures are."""

    def shows(page: str) -> Callable[[], bool]:
        return lambda: frame.pictures == page

    of_trajectory = [
        ("play", "Play the trajectory, or hold it", "Space"),
        ("back", "One step back, to noise", "Left"),
        ("forward", "One step on, to the picture", "Right"),
        ("first", "To the noise it began with", "Home"),
        ("last", "To the last step, and follow what comes", "End"),
        ("next", "The next trajectory", "N"),
        ("beside", "Another trajectory beside it, or none", "B"),
        ("zoom_in", "Look closer at the steps", "+"),
        ("zoom_out", "Look at more of the steps", "-"),
        ("zoom_whole", "Show the steps whole", "0"),
    ]
    of_gallery = [
        ("look", "Look closer, or compare the marked pictures", "Return"),
        ("mark", "Mark a picture to compare it, or no longer", "Space"),
        ("blink", "Let compared pictures change places, while it is held", "X"),
        ("zoom_in", "Larger pictures", "+"),
        ("zoom_out", "Smaller pictures", "-"),
        ("zoom_whole", "Pictures as large as at first, or whole", "0"),
        ("details", "Show how a picture was drawn", "D"),
        ("copy", "Copy how a picture was drawn", "C"),
        ("again", "Same seed, other settings", "S"),
        ("kind", "The next kind of pictures", "K"),
        ("axis", "In rows, or as a grid by another setting", "G"),
    ]
    made = [
        Command(f"{page}.{action}", title, key, partial(frame.picture, action), shows(page), page)
        for page, rows in (("trajectory", of_trajectory), ("gallery", of_gallery))
        for action, title, key in rows
    ]
    return [*made, Command("picture.open", "Draw again what a PNG says of itself", "Ctrl+Shift+O", frame.open_picture)]


def _window_commands(frame: Frame) -> list[Command]:
    return [
        Command("page.runs", "Go to Runs", "Ctrl+1", lambda: frame.show_page("runs")),
        Command("page.presets", "Go to Presets", "Ctrl+2", lambda: frame.show_page("presets")),
        Command("page.judge", "Go to Judge", "Ctrl+3", lambda: frame.show_page("judge")),
        Command("page.help", "Help", "F1", lambda: frame.show_page("help")),
        Command("window.palette", "Search or do…", "Ctrl+K", frame.open_palette),
        Command("window.back", "Back", "Esc", frame.go_back),
        Command("window.theme", "Switch between light and dark", "Ctrl+T", frame.toggle_theme),
        Command("window.keys", "Change the keys", "", frame.edit_keys),
        Command("window.quit", "Quit; runs go on", "Ctrl+Q", lambda: _close(frame)),
    ]


def _close(frame: Frame) -> None:
    frame.close()


class Keys(QObject):
    """Makes the table's shortcuts work in one window, also where a text field would take them for itself."""

    def __init__(self, window: QWidget, commands: list[Command]) -> None:
        super().__init__(window)
        self._commands = commands
        self._rows = self._by_key("")
        for key, rows in self._rows.items():
            QShortcut(QKeySequence(key), window, partial(_press, rows))
        if (application := QApplication.instance()) is not None:
            application.installEventFilter(self)

    def attach(self, page: str, widget: QWidget, *, repeats: bool = False) -> None:
        """Make the keys of a page work while the keyboard's place is within `widget`. repeats: also while held."""
        for key, rows in self._by_key(page).items():
            shortcut = QShortcut(QKeySequence(key), widget, partial(_press, rows))
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.setAutoRepeat(repeats)  # a key that is held too long must not judge ten pairs

    def written(self, page: str) -> dict[str, str]:
        """How the key of each action of a page is written."""
        rows = [command for command in self._commands if command.page == page]
        return {row.id.removeprefix(f"{page}."): shown_key(row.shortcut) for row in rows}

    def _by_key(self, page: str) -> dict[str, list[Command]]:
        found: dict[str, list[Command]] = {}
        for command in self._commands:
            if command.page == page:
                for key in _spellings(command.shortcut):
                    found.setdefault(key, []).append(command)
        return found

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  Qt's name
        """Keep text fields from claiming a shortcut of ours, as Ctrl+K (delete to the end of the line) is one."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            key = QKeySequence(event.keyCombination()).toString()
            if "Ctrl+" in key and key in self._rows:
                event.ignore()
                return True
        return False


def _press(rows: list[Command]) -> None:
    """Run the first enabled command of a shortcut."""
    command = next((row for row in rows if row.enabled()), None)
    if command is not None:
        command.run()


def shown_key(shortcut: str) -> str:
    """A shortcut as it is written on keyboards."""
    arrows = {"Left": "←", "Right": "→", "Up": "↑", "Down": "↓"}
    return arrows.get(shortcut, shortcut.replace("Return", "Enter"))


def _spellings(shortcut: str) -> list[str]:
    """The shortcut and what else a keyboard may call it: the second Enter key, the shifted full stop."""
    if not shortcut:
        return []
    also = {
        "Return": "Enter",
        "Ctrl+Return": "Ctrl+Enter",
        "Ctrl+Shift+Return": "Ctrl+Shift+Enter",
        "Ctrl+Shift+.": "Ctrl+>",
    }
    return [shortcut, also[shortcut]] if shortcut in also else [shortcut]

"""A sitting: the prompt, the answers side by side, and what can be said of them. Nothing tells who wrote which."""

import math
from collections.abc import Callable, Mapping, Sequence

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLineEdit, QStackedWidget, QWidget

from engine.contract.labels import Candidate, Item, Judgement
from engine.contract.labels_protocol import choice_of
from workbench import theme
from workbench.io.label_sets import Opened
from workbench.io.labelling import Event, Labelling
from workbench.state import figures
from workbench.state.sitting import Progress, Sitting
from workbench.theme import Theme
from workbench.views.answers import LIT_MS, Answers
from workbench.views.choice_bar import ChoiceBar
from workbench.views.labels import card, column, label, row
from workbench.views.reading_pane import ReadingPane, reading_width
from workbench.views.sitting_aside import SittingAside, What

#: The prompt takes at most this share of the height; a longer one scrolls.
PROMPT_SHARE = 0.25
LEAST_ANSWERS = 160
SIGNS_OF_LIFE = {QEvent.Type.KeyPress, QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove, QEvent.Type.Wheel}
ACTIONS_OF_CHOICE = {"left": "left", "right": "right", "tie": "tie", "tie_too": "tie", "both_bad": "both_bad"}


def conversation(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """A prompt as one reads it: a single turn of a user by itself, several with who says what."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0].get("role") == "user":
        return prompt[0].get("content", "")
    return "\n\n".join(f"{turn.get('role', '')}: {turn.get('content', '')}" for turn in prompt)


def standing(progress: Progress) -> str:
    """How far it is, how fast it goes and how well the person agrees with themselves, in one line."""
    parts = [f"{figures.count(progress.done)} of {figures.count(progress.total)}"]
    if math.isfinite(progress.pace):
        parts.append(f"{figures.number(progress.pace, 2)} s each")
        if progress.done < progress.total:
            parts.append(figures.left(progress.seconds_left))
    if progress.repeats:
        parts.append(f"consistent in {progress.repeats_alike} of {progress.repeats}")
    return "   ·   ".join(parts)


class SavedMark(QWidget):
    """That the last judgement is on the disk: icon, word and colour."""

    def __init__(self) -> None:
        super().__init__()
        self._icon = label()
        self._word = label(role="finished")
        self.setLayout(row(self._icon, self._word, space=1))
        self.show_word("")

    @property
    def word(self) -> str:
        return self._word.text()

    def show_word(self, word: str) -> None:
        self._word.setText(word)
        self._icon.setVisible(bool(word))

    def set_theme(self, colours: Theme) -> None:
        self._icon.setPixmap(theme.pixmap("check", colours.colour("finished"), 14, self.devicePixelRatioF()))


class SittingView(QWidget):
    """Shows the open set of `labelling` and asks it for what keys and buttons mean.

    markdown_changed: whether the person wants Markdown drawn from now on.
    """

    markdown_changed = Signal(bool)

    def __init__(self, labelling: Labelling, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._labelling = labelling
        self._keys = keys
        self._groups: list[list[int]] = []
        self._is_ranking = False
        self._question = label(role="page-title")
        self._facts = label(role="muted")
        self._saved = SavedMark()
        self._failure = label(role="fault", wrap=True, selectable=True)
        self.prompt = ReadingPane("Prompt")
        self.answers = Answers()
        self.bar = ChoiceBar()
        self.note = QLineEdit(placeholderText="A note on this pair; Enter keeps it")
        self.aside = SittingAside()
        self._stack = QStackedWidget()
        self._acts: dict[str, Callable[[Sitting], object]] = {
            "undo": lambda _: self._take_back_place() or labelling.undo(),
            "redo": lambda _: labelling.redo(),
            "flag": lambda sitting: labelling.mark(is_flagged=not sitting.is_flagged),
            "note": self._edit_note,
            "rank": self._toggle_ranking,
            "difference": self._toggle_difference,
            "markdown": self._toggle_markdown,
            "guideline": lambda _: self._show_aside("" if self.aside.what == "guideline" else "guideline"),
            "settle": lambda _: labelling.toggle_settling(),
            "pause": lambda _: labelling.toggle_pause(),
        }
        self._dim = QTimer(self, singleShot=True, interval=LIT_MS)
        self._lay_out()
        self._connect()

    # ------------------------------------------------------------------------------------------------ what it shows

    def follow(self, event: Event) -> None:
        """Something happened to the sitting."""
        opened = self._labelling.opened
        if opened is None:
            return
        if event.what == "marked":
            self._show_marks(opened.sitting)
            self._show_aside("pause" if self._labelling.is_paused else "")
            return
        self._failure.hide()
        self._show_turn(opened)
        if event.what in ("judged", "undone", "redone"):
            self._light(event.judgement, event.what)
            word = "saved" if event.what == "judged" else event.what
            self._saved.show_word(f"{word}: {event.revealed}" if event.revealed else word)

    def show_failure(self, sentence: str) -> None:
        """The pair stays; this says why."""
        self._saved.show_word("")
        self._failure.setText(sentence)
        self._failure.show()

    def draw_markdown(self, is_wanted: bool) -> None:
        """Draw the Markdown of prompt and answers, or show them as they were written."""
        self.prompt.draw_markdown(is_wanted)
        self.answers.draw_markdown(is_wanted)
        self._fit()

    def set_theme(self, colours: Theme) -> None:
        self._saved.set_theme(colours)
        self.prompt.set_theme(colours)
        self.answers.set_theme(colours)

    @property
    def facts(self) -> str:
        return self._facts.text()

    @property
    def saved(self) -> str:
        return self._saved.word

    @property
    def failure(self) -> str:
        return self._failure.text() if not self._failure.isHidden() else ""

    # ------------------------------------------------------------------------------------------------ what it is asked

    def act(self, action: str) -> None:
        """Do what a key or button means."""
        sitting = self._labelling.sitting
        if sitting is None:
            return
        if (act := self._acts.get(action)) is not None:
            act(sitting)
        elif not self.aside.what:
            self._choose(action, sitting)

    def let_go(self) -> bool:
        """Close what is open over the pair; False if nothing is."""
        if self.note.isVisible():
            self._keep_note()
        elif self._labelling.is_paused:
            self._labelling.toggle_pause()
        elif self.aside.what and self._labelling.can_judge:
            self._show_aside("")
        elif self._groups:
            self._set_groups([])
        else:
            return False
        return True

    # ------------------------------------------------------------------------------------------------------ choosing

    def _choose(self, action: str, sitting: Sitting) -> None:
        if sitting.turn is None:
            return
        answers = len(sitting.turn.shown)
        if action in ACTIONS_OF_CHOICE:
            self._labelling.judge(ACTIONS_OF_CHOICE[action])  # type: ignore[arg-type]
        elif action == "skip":
            self._labelling.judge("skip")
        elif answers == 2:
            self._labelling.judge(int(action))  # type: ignore[arg-type]
        elif int(action) <= answers:
            self._pick(int(action) - 1, answers)

    def _pick(self, place: int, answers: int) -> None:
        """Among more than two: the best, or when ranking the next in the order."""
        if not self._is_ranking:
            self._labelling.rank([[place]])
            return
        if any(place in group for group in self._groups):
            return
        groups = [*self._groups, [place]]
        if sum(map(len, groups)) >= answers - 1:
            self._labelling.rank(groups)
        else:
            self._set_groups(groups)

    def _take_back_place(self) -> bool:
        """Undo within a ranking that is not complete yet."""
        if not self._groups:
            return False
        self._set_groups(self._groups[:-1])
        return True

    def _set_groups(self, groups: list[list[int]]) -> None:
        self._groups = groups
        self.answers.set_places(groups)

    def _toggle_ranking(self, sitting: Sitting) -> None:
        if sitting.turn is not None and len(sitting.turn.shown) > 2:
            self._is_ranking = not self._is_ranking
            self._set_groups([])
            self.bar.light("rank", is_lit=self._is_ranking)

    def _toggle_difference(self, sitting: Sitting) -> None:
        self.answers.compare(not self.answers.is_comparing)
        self._show_marks(sitting)

    def _toggle_markdown(self, sitting: Sitting) -> None:
        self.draw_markdown(not self.answers.is_markdown)
        self._show_marks(sitting)
        self.markdown_changed.emit(self.answers.is_markdown)

    def _edit_note(self, sitting: Sitting) -> None:
        self.note.setText(sitting.note)
        self.note.show()
        self.note.setFocus()

    def _keep_note(self) -> None:
        self.note.hide()
        self._labelling.mark(note=self.note.text().strip())
        self.setFocus()

    # ------------------------------------------------------------------------------------------------------- drawing

    def _show_turn(self, opened: Opened) -> None:
        sitting, turn = opened.sitting, opened.sitting.turn
        self._question.setText(sitting.settings.question)
        facts = standing(sitting.progress)
        self._facts.setText(f"settling disagreements   ·   {facts}" if sitting.is_settling else facts)
        self._set_groups([])
        self.note.hide()
        self._show_aside("" if turn is not None else "done")
        if turn is not None:
            self.prompt.show_text(conversation(turn.item.prompt))
            self.answers.show_texts([_text(turn.item, index) for index in turn.shown])
            self.bar.show_choices(self._keys, answers=len(turn.shown), is_graded=sitting.takes_strength)
            self._fit()
        self._show_marks(sitting)

    def _show_marks(self, sitting: Sitting) -> None:
        self.bar.set_down("flag", is_down=sitting.is_flagged)
        self.bar.set_down("note", is_down=bool(sitting.note))
        self.bar.set_down("difference", is_down=self.answers.is_comparing)
        self.bar.set_down("markdown", is_down=self.answers.is_markdown)
        self.bar.set_down("pause", is_down=self._labelling.is_paused)
        rules = sitting.settings.protocol
        self.bar.enable(
            {
                "undo": sitting.undoable is not None,
                "redo": sitting.redoable is not None,
                "tie": rules.tie,
                "both_bad": rules.both_bad,
            }
        )

    def _light(self, judgement: Judgement | None, what: str) -> None:
        """What was chosen lights up while the next pair is there already; after an undo, what was said before."""
        self.bar.put_out()
        if judgement is None:
            return
        choice = choice_of(judgement)
        graded = str(choice) if self.bar.button("1") is not None else _binary(choice)
        action = {"both_bad": "both_bad", "skipped": "skip"}.get(judgement.outcome, graded)
        self.bar.light(action, is_lit=True)
        self._dim.start()
        if what == "judged" and judgement.ranking:
            best = {judgement.shown.index(index) for index in judgement.ranking[0]}
            self.answers.light([place for place in best if place < len(self.answers.cards)])

    def _show_aside(self, what: What) -> None:
        """Something in place of the answers, or "" for the answers."""
        if (opened := self._labelling.opened) is not None:
            self.aside.show_what(what, opened)
            self._stack.setCurrentIndex(1 if what else 0)

    def _fit(self) -> None:
        """The prompt as high as it needs to be; the answers too, so that short ones do not float in a void."""
        room = self.height()
        wanted = self.prompt.text_height + 4
        self.prompt.setFixedHeight(max(min(wanted, round(room * PROMPT_SHARE)), 24))
        self.answers.setMaximumHeight(max(self.answers.wanted_height() + theme.SPACE[5], LEAST_ANSWERS, room // 3))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        QTimer.singleShot(0, self, self._fit)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in SIGNS_OF_LIFE:
            self._labelling.touch()
        return False

    # ------------------------------------------------------------------------------------------------------- building

    def _connect(self) -> None:
        self.bar.asked.connect(self.act)
        self.answers.chosen.connect(self._choose_card)
        self.answers.touched.connect(self._labelling.touch)
        self.prompt.wheeled.connect(self._scroll_prompt)
        self.note.returnPressed.connect(self._keep_note)
        self._dim.timeout.connect(self.bar.put_out)
        self.installEventFilter(self)

    def _choose_card(self, place: int) -> None:
        sitting = self._labelling.sitting
        if sitting is not None and sitting.turn is not None:
            self.act(("left", "right")[place] if len(sitting.turn.shown) == 2 else str(place + 1))

    def _scroll_prompt(self, event: object) -> None:
        delta = event.angleDelta().y() // 2  # type: ignore[attr-defined]
        self.prompt.scroll_to(max(self.prompt.verticalScrollBar().value() - delta, 0))

    def _lay_out(self) -> None:
        head = row(self._question, None, self._facts, self._saved, space=4)
        asked = card()
        inside = column(label("Prompt", "muted"), self.prompt, space=1)
        inside.setContentsMargins(theme.SPACE[5], theme.SPACE[3], theme.SPACE[5], theme.SPACE[1])
        asked.setLayout(inside)
        pair = QWidget()
        pair.setLayout(column(self.answers, None, space=0))
        pair.layout().setStretch(0, 1000)  # type: ignore[union-attr]
        self._stack.addWidget(pair)
        self._stack.addWidget(self.aside)
        layout = column(space=3)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        for part in (self._failure, asked, self.note):
            layout.addWidget(part)
        layout.addWidget(self._stack, 1)
        layout.addWidget(self.bar)
        # Two columns of text and no more: on a wide screen the eye should not travel.
        room = QWidget()
        room.setMaximumWidth(round(2 * reading_width() + 4 * theme.SPACE[5] + 3 * theme.SPACE[4]))
        room.setLayout(layout)
        outer = row(space=0)
        outer.addStretch(1)
        outer.addWidget(room, 1000)
        outer.addStretch(1)
        self.setLayout(outer)
        self._failure.hide()
        self.note.hide()


def _text(item: Item, index: int) -> str:
    candidate: Candidate = item.candidates[index]
    return candidate.text if candidate.text is not None else f"a picture: {candidate.image}"


def _binary(choice: int | None) -> str:
    if choice is None or choice == 4:
        return "tie" if choice == 4 else ""
    return "left" if choice < 4 else "right"

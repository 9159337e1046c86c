"""Judgements as the rows that other programs read: one pure function a format."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from engine.contract.labels import Item, Judgement, prompt_key
from engine.contract.labels_use import LabelUse
from engine.labelling.rows import RANKING, Row, learn

Style = str
Message = dict[str, str]
#: Columns of text or messages, and who speaks in them if not the assistant.
SPOKEN = frozenset({"prompt", "chosen", "rejected", "completion"})
ROLES = {"prompt": "user"}
#: Names of Argilla's people come from ours, and are the same in every export.
PEOPLE = uuid.UUID("6c9f2b0e-8f5c-5f0b-9a57-2f1c8d1f7e11")


class Format(NamedTuple):
    """The rows a format is made of, how one of those is written, and in which styles besides as-is.

    usual: the style that as-is means.
    """

    method: str
    write: Callable[[Row], Row]
    styles: tuple[Style, ...] = ("plain", "conversational")
    usual: Style = "as-is"


def export_rows(
    name: str, items: Sequence[Item], judgements: Sequence[Judgement], use: LabelUse, style: Style
) -> list[Row]:
    """The rows of a set in format `name`. A column that only some rows could fill is left out of all."""
    if name == "argilla":
        return list(_argilla(items, judgements))
    form = FORMATS[name]
    rows = learn(items, judgements, form.method, use).rows
    groups = {_as_key(item): prompt_key(item) for item in items}
    if style == "as-is":
        # A column of a table cannot hold text and conversations.
        is_mixed = len({type(row["prompt"]) for row in rows}) > 1 and form.styles
        style = "conversational" if is_mixed else form.usual
    made = []
    for row in rows:
        written = form.write(_styled(row, style))
        made.append(written if name == "hh" else {**written, "group": groups[str(row["prompt"])]})
    has_margins = all("margin" in row for row in made)
    return made if has_margins else [{key: row[key] for key in row if key != "margin"} for row in made]


def _as_key(item: Item) -> str:
    return str(item.prompt)


# ------------------------------------------------------------------------------------------------------------- styles


def _styled(row: Row, style: Style) -> Row:
    """Prompt and answers as text, as messages, or as they are."""
    if style == "as-is" or isinstance(row["prompt"], list) == (style == "conversational"):
        return row
    made = dict(row)
    for key in SPOKEN & set(row):
        made[key] = (
            _as_messages(row[key], ROLES.get(key, "assistant")) if style == "conversational" else _text(row[key])
        )
    if "answers" in row:
        answers = row["answers"]
        made["answers"] = [_as_messages(a, "assistant") if style == "conversational" else _text(a) for a in answers]
    return made


def _as_messages(value: str | list[Message], role: str) -> list[Message]:
    return [{"role": role, "content": value}] if isinstance(value, str) else value


def _text(value: str | list[Message]) -> str:
    """One message is its text. Of several, each says who speaks, or nobody could tell them apart."""
    if isinstance(value, str):
        return value
    if len(value) == 1:
        return value[0]["content"]
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in value)


# ------------------------------------------------------------------------------------------------------------ formats


def _same(row: Row) -> Row:
    return row


def _implicit(row: Row) -> Row:
    """The prompt is what both answers begin with."""
    sides = {side: row["prompt"] + row[side] for side in ("chosen", "rejected")}
    return {**sides, **({"margin": row["margin"]} if "margin" in row else {})}


def _hh(row: Row) -> Row:
    """Bai et al. 2022, arXiv:2204.05862: turns of Human and Assistant in one text; a system message opens the first."""
    turns, system = "", ""
    for message in _as_messages(row["prompt"], "user"):
        if message["role"] == "system":
            system = f"{message['content']}\n\n"
            continue
        speaker = "Assistant" if message["role"] == "assistant" else "Human"
        turns, system = f"{turns}\n\n{speaker}: {system}{message['content']}", ""
    return {side: f"{turns}\n\nAssistant: {_text(row[side])}" for side in ("chosen", "rejected")}


def _openrlhf(row: Row) -> Row:
    """Its `--reward.margin_loss_enable` reads a margin from every row; a tie that is learned asks for none."""
    return {"margin": 0.0, **row}


def _argilla(items: Sequence[Item], judgements: Sequence[Judgement]) -> Iterator[Row]:
    """Records as `Record.from_dict` of argilla 2 takes them, with a ranking question. Ties cannot be told there."""
    said: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        if judgement.outcome == "ranked" and all(len(group) == 1 for group in judgement.ranking):
            said.setdefault(judgement.item, []).append(judgement)
    for item in items:
        answers = {f"response{place}": candidate.text for place, candidate in enumerate(item.candidates, start=1)}
        responses = [_response(judgement) for judgement in said.get(item.id, [])]
        if responses:
            fields = {"prompt": _text(item.prompt), **answers}
            yield {"id": item.id, "fields": fields, "responses": {"ranking": responses}}


def _response(judgement: Judgement) -> Row:
    order = [f"response{index + 1}" for [index] in judgement.ranking]
    return {"value": order, "user_id": str(uuid.uuid5(PEOPLE, judgement.labeller))}


#: Every format but `native`, which is the set itself.
FORMATS: dict[str, Format] = {
    "preference": Format("dpo", _same),
    "implicit": Format("dpo", _implicit, usual="conversational"),
    "kto": Format("kto", _same),
    "ranking": Format(RANKING, _same),
    "hh": Format("dpo", _hh, ()),
    "openrlhf": Format("dpo", _openrlhf),
    "argilla": Format("", _same, ()),
}

"""The rows people have, and the few kinds that methods read.

Methods only ever see canonical rows. A row of each kind has these columns; text is `str`, a conversation a list of
messages as `conversations` describes them, and in one row all are text or all are conversations.

| kind       | columns                                                                                                |
|------------|--------------------------------------------------------------------------------------------------------|
| text       | text                                                                                                   |
| messages   | messages; tools?                                                                                       |
| completion | prompt, completion; tools?                                                                             |
| prompt     | prompt; tools?                                                                                         |
| tokens     | input_ids: list[int]; is_target: list[bool], which of them count in the loss                           |
| pair       | prompt, chosen, rejected; margin?: float, by how much; chosen_score?, rejected_score?: float; tools?   |
| token_pair | chosen_ids, rejected_ids: list[int]; margin?: float                                                    |
| unpaired   | prompt, completion; label: bool, whether the answer is wanted; tools?                                  |
| ranking    | prompt, answers; ranks: list[float], 1 is best, or scores: list[float], the larger the better; tools?  |

An answer is never empty, two answers of a pair are never the same, and a prompt may be empty: pairs of whole texts can
begin with nothing in common. In a conversation, answers begin with the assistant's words. Columns that no kind has ride
along, for rewards to read, and so does `chat_template_kwargs`. What is canonical stays as it is.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from engine.data import mappings as read
from engine.data.rows import Row, UnusableRow

Kind = Literal["text", "messages", "completion", "prompt", "tokens", "pair", "token_pair", "unpaired", "ranking"]

#: What each method learns from. A method that is not listed makes its own answers and only takes prompts.
KINDS: dict[str, tuple[Kind, ...]] = {
    "sft": ("messages", "completion", "text", "tokens"),
    "reward_model": ("pair", "ranking", "token_pair"),
    "dpo": ("pair",),
    "cpo": ("pair",),
    "orpo": ("pair",),
    "simpo": ("pair",),
    "kto": ("unpaired", "pair"),
    "distill": ("messages", "completion", "prompt"),
}
#: How a message speaks of a kind.
COLUMNS: dict[Kind, str] = {
    "text": "`text`",
    "messages": "`messages`",
    "completion": "`prompt` and `completion`",
    "prompt": "`prompt`",
    "tokens": "`input_ids`",
    "pair": "`chosen` and `rejected`",
    "token_pair": "`chosen_ids` and `rejected_ids`",
    "unpaired": "`prompt`, `completion` and `label`",
    "ranking": "`prompt`, `answers` and `ranks` or `scores`",
}
#: Columns by which methods tell kinds apart; a canonical row has only those of its kind. Of the second, a prompt keeps
#: all, as a reward may read them.
LEADING = frozenset({"text", "messages", "conversations", "prompt", "input_ids"})
ANSWERING = frozenset({"completion", "chosen", "rejected", "answers", "label"})

Names = tuple[str, ...]
PROMPT: Names = ("prompt", "question", "problem", "query", "input")
COMPLETION: Names = ("completion", "response", "output", "answer", "solution")
LABEL: Names = ("label", "kto_tag")
ANSWER_PAIR: tuple[Names, ...] = (("chosen",), ("rejected",))
TOOLS: Names = ("tools",)
TALK: Names = ("conversations", "conversation")
ANSWERS: Names = ("answers", "responses", "completions", "candidates")
SCORES: tuple[Names, ...] = (
    ("margin",),
    ("chosen_score", "score_chosen", "chosen_rating"),
    ("rejected_score", "score_rejected", "rejected_rating"),
)
ALPACA: tuple[Names, ...] = (("input",), ("system",), ("history",))
SHAREGPT: tuple[Names, ...] = (("system",), TOOLS)
MASKS: tuple[Names, ...] = (("labels",), ("attention_mask",), *((name,) for name in read.MASKS))


class Format(NamedTuple):
    """A form in which rows come. needs, may: columns, each under any of several names, of which the first is ours.

    canonical: from those columns to those of the kind; raises UnusableRow. is_meant: tells apart what has the same
    columns.
    """

    name: str
    kind: Kind
    needs: tuple[Names, ...]
    canonical: Callable[[Row], Row]
    may: tuple[Names, ...] = (TOOLS,)
    is_meant: Callable[[Row], bool] = lambda row: True


def canonical(row: Row, method: str, *, format: str = "auto", columns: Mapping[str, str] | None = None) -> Row:
    """The row as `method` reads it. Raises UnusableRow.

    format: what the form is called, if it is not to be recognised. columns: our name of a column -> the row's.
    """
    given = renamed({name: value for name, value in row.items() if value is not None}, columns or {})
    found = _recognised(given, method, format)
    # A table has no way to leave a cell out but to leave it empty.
    own = {ours: given[name] for ours, name, is_needed in found.columns if is_needed or given[name] != ""}
    return {**{name: given[name] for name in found.riders}, **found.format.canonical(own)}


def recognise(row: Row, method: str, *, format: str = "auto") -> Format:
    """The form of a row, by its columns. Raises UnusableRow if the method has no use for it."""
    return _recognised(row, method, format).format


class _Match(NamedTuple):
    """A form that rows of some columns could have. columns: ours, theirs, and whether they must be there."""

    format: Format
    columns: tuple[tuple[str, str, bool], ...]
    riders: tuple[str, ...]


def _recognised(row: Row, method: str, format: str) -> _Match:
    for match in _matches(tuple(row), method, format):
        if format != "auto" or match.format.is_meant(row):
            return match
    raise UnusableRow(_lacking(row, method, KINDS.get(method, ("prompt",)), format))


@lru_cache(maxsize=256)
def _matches(names: Names, method: str, format: str) -> tuple[_Match, ...]:
    """Every form with columns of these names, best first; rows of a file are alike, so it is asked again and again."""
    kinds = KINDS.get(method, ("prompt",))
    known = [known for known in FORMATS if known.kind in kinds and format in ("auto", known.name)]
    return tuple(_match(one, names) for one in known if all(_first(needed, names) for needed in one.needs))


def _match(known: Format, names: Names) -> _Match:
    found = [(ours, ours in known.needs, _first(ours, names)) for ours in (*known.needs, *known.may)]
    columns = tuple((ours[0], name, is_needed) for ours, is_needed, name in found if name)
    used = {name for _, name, _ in columns} | LEADING | (frozenset() if known.kind == "prompt" else ANSWERING)
    return _Match(known, columns, tuple(name for name in names if name not in used))


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row under our names. columns: our name of a column -> the row's. Raises UnusableRow if one is not there."""
    if not columns:
        return row
    lacking = [name for name in columns.values() if name not in row]
    if lacking:
        raise UnusableRow(f"has no `{lacking[0]}`, which the source's `columns` name ({_listed(row)})")
    others = {name: value for name, value in row.items() if name not in columns.values()}
    return others | {ours: row[name] for ours, name in columns.items()}


def _first(wanted: Names, names: Iterable[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _lacking(row: Row, method: str, kinds: tuple[Kind, ...], format: str) -> str:
    if format == "auto":
        parts = [COLUMNS[kind] for kind in kinds]
        lacks = f"has no {parts[0]}" if len(parts) == 1 else f"has neither {', nor '.join(parts)}"
        return f"{lacks} ({_listed(row)})"
    known = [known for known in FORMATS if known.name == format and known.kind in kinds]
    if not known:
        return f"is {format} to the source's `format`, of which {method} has no use"
    lacks = next(names[0] for names in known[0].needs if not _first(names, row))
    return f"has no `{lacks}`, as {format} rows do ({_listed(row)})"


def _listed(row: Row) -> str:
    return "it has " + (", ".join(f"`{name}`" for name in list(row)[:8]) or "no columns")


# fmt: off
#: Every form that is known; of several that a row could be, the first.
FORMATS: tuple[Format, ...] = (
    Format("tokens", "tokens", (("input_ids",),), read.as_tokens, may=MASKS),
    Format("messages", "messages", (("messages",),), read.as_messages),
    Format("sharegpt", "messages", (TALK,), read.sharegpt_as_messages, may=SHAREGPT),
    Format("alpaca", "messages", (("instruction",), ("output",)), read.alpaca_as_messages, may=ALPACA),
    Format("prompt_completion", "completion", (("prompt",), ("completion",)), read.as_completion),
    Format("text", "text", (("text",),), read.as_text, may=()),
    Format("prompt_completion", "completion", (PROMPT, COMPLETION), read.as_completion),

    Format("sharegpt", "pair", (TALK, *ANSWER_PAIR), read.sharegpt_as_pair, may=(*SHAREGPT, *SCORES)),
    Format("alpaca", "pair", (("instruction",), *ANSWER_PAIR), read.alpaca_as_pair, may=(*ALPACA, *SCORES)),
    Format("hh", "pair", ANSWER_PAIR, read.transcripts_as_pair, may=SCORES, is_meant=read.is_transcript),
    Format("preference", "pair", ANSWER_PAIR, read.as_pair, may=(PROMPT, TOOLS, *SCORES)),
    Format("tokens", "token_pair", (("chosen_ids", "chosen_input_ids"), ("rejected_ids", "rejected_input_ids")),
           read.as_token_pair, may=SCORES),

    Format("sharegpt", "unpaired", (TALK, LABEL), read.sharegpt_as_unpaired, may=SHAREGPT),
    Format("alpaca", "unpaired", (("instruction",), ("output",), LABEL), read.alpaca_as_unpaired, may=ALPACA),
    Format("unpaired", "unpaired", (PROMPT, COMPLETION, LABEL), read.as_unpaired),

    Format("ranking", "ranking", (PROMPT, ANSWERS, ("ranks", "rank")), read.as_ranking),
    Format("ranking", "ranking", (PROMPT, ANSWERS, ("scores", "ratings")), read.as_ranking),
    Format("rating", "ranking", (PROMPT, COMPLETION, ("score", "rating")), read.rating_as_ranking),

    Format("prompt", "prompt", (("prompt",),), read.as_prompt),
    Format("messages", "prompt", (("messages",),), read.messages_as_prompt),
    Format("sharegpt", "prompt", (TALK,), read.sharegpt_as_prompt, may=SHAREGPT),
    Format("alpaca", "prompt", (("instruction",),), read.alpaca_as_prompt, may=ALPACA),
    Format("prompt", "prompt", (PROMPT,), read.as_prompt),
)
# fmt: on

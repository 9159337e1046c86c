"""Tokens as a person can read them: what each adds to the text, and the few that are shown of a long row."""

from collections.abc import Callable, Sequence

from engine.contract.findings import SeenText
from engine.data.chat import Example

#: Tokens shown of one text: the first and the last half of so many.
SHOWN = 160
#: Characters kept of one token; some vocabularies hold lines of 128 dashes.
LONGEST_TOKEN = 48
#: What a tokenizer writes for the beginning of a character whose end has not come yet.
UNFINISHED = "\N{REPLACEMENT CHARACTER}"

Decode = Callable[[list[int]], str]


def seen(name: str, example: Example, decode: Decode, *, sampled: int = 0) -> SeenText:
    """The example for reading, its middle left out if it is long."""
    length = len(example.ids)
    half = SHOWN // 2
    places = list(range(length)) if length <= SHOWN else [*range(half), *range(length - half, length)]
    ids = [example.ids[place] for place in places]
    tokens = pieces(ids, decode) if length <= SHOWN else pieces(ids[:half], decode) + pieces(ids[half:], decode)
    return SeenText(
        name=name,
        tokens=[token[:LONGEST_TOKEN] for token in tokens],
        ids=ids,
        counted=spans([example.is_target[place] for place in places]),
        length=length,
        skipped=length - len(places),
        skipped_at=half if length > SHOWN else 0,
        is_cut=example.is_cut,
        sampled=sampled,
    )


def pieces(ids: Sequence[int], decode: Decode) -> list[str]:
    """What each token adds to the text of those before it. A character of several tokens stands at its last one."""
    found: list[str] = []
    before = ""
    for end in range(1, len(ids) + 1):
        text = decode(list(ids[:end]))
        is_last = end == len(ids)
        whole = before if text.endswith(UNFINISHED) and not is_last else text
        # A decoder that rewrites what stands before cannot be read this way; then the token is read alone.
        is_longer = whole.startswith(before)
        found.append(whole[len(before) :] if is_longer else decode([ids[end - 1]]))
        before = whole
    return found


def spans(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Where flags are set, as [from, to)."""
    found: list[tuple[int, int]] = []
    for place, flag in enumerate(flags):
        if not flag:
            continue
        if found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    return found

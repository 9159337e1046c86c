"""What of an item is put before the person who judges it: never where it came from, nor what its file is called."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from engine.contract.labels import Item

#: Of an item that has both texts and pictures; nothing writes such a one.
IN_PLACE = "A picture, which cannot be compared with a text."


def conversation(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """A prompt as one reads it: a single turn of a user by itself, several with who says what."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0].get("role") == "user":
        return prompt[0].get("content", "")
    return "\n\n".join(f"{turn.get('role', '')}: {turn.get('content', '')}" for turn in prompt)


def are_pictures(item: Item) -> bool:
    return all(candidate.image is not None for candidate in item.candidates)


def texts(item: Item, shown: Sequence[int]) -> list[str]:
    """The answers as they stand on the screen, from the left."""
    return [found if (found := item.candidates[index].text) is not None else IN_PLACE for index in shown]


def pictures(folder: Path, item: Item, shown: Sequence[int]) -> list[Path | None]:
    """Where the pictures lie that stand on the screen, from the left; None for what is not within the set's folder."""
    return [_within(folder, item.candidates[index].image or "") for index in shown]


def _within(folder: Path, image: str) -> Path | None:
    named = PurePath(image)
    return None if named.is_absolute() or ".." in named.parts or "\0" in image else folder / named

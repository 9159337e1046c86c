"""A model's text as characters that can be seen: what would hide, reorder or command is shown as a mark."""

import re

#: C0 and C1 controls but tab and line feed; marks and overrides of direction; what has no width; tags; halves of pairs.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
#: Scripts and emoji need the two joiners between their letters; beside a Latin letter they only hide something.
_JOINER = re.compile("(?<![^\x00-\u02ff])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\u02ff])")


def literal(text: str) -> str:
    """Every character visible. Lines end with a line feed alone; an escape is ␛, an override of direction ⟨202E⟩."""
    if text.isascii() and text.isprintable():
        return text
    return _JOINER.sub(_mark, _UNSEEN.sub(_mark, text.replace("\r\n", "\n")))


def _mark(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else f"\u27e8{code:04X}\u27e9"

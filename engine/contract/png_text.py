"""The text in a PNG file, read and written without an image library. Who reads one does not know who wrote it.

PNG (Third Edition, W3C): 8 bytes of signature, then chunks of length u32, type, data and CRC-32 over type and data.
Texts are tEXt (Latin-1), zTXt (the same, compressed) and iTXt (UTF-8, compressed or not). Pixels are skipped unread.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: What is taken from one file at most, so that none fills a memory or a minute.
LARGEST_TEXT = 4 * 1024 * 1024
LARGEST_SUM = 16 * 1024 * 1024
MOST_TEXTS = 64
MOST_CHUNKS = 200_000
LARGEST_SIDE = 65_535
_PREFIX, _CRC = struct.Struct(">I4s"), struct.Struct(">I")


class PngError(ValueError):
    """What is wrong with a PNG file, and what to do."""

    def __init__(self, problem: str, remedy: str = "choose another picture") -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


class PngText(NamedTuple):
    """What a PNG says beside its pixels. texts: keyword -> text; of two with one keyword the first counts."""

    width: int
    height: int
    texts: dict[str, str]


class _Chunk(NamedTuple):
    kind: bytes
    length: int
    start: int


def read_png_text(path: Path) -> PngText:
    """The size and texts of a PNG file. Raises PngError, also where one asks for more room than any of ours does."""
    try:
        with path.open("rb") as file:
            return parse_png_text(file, path.name)
    except OSError as error:
        raise PngError(f"{path.name} cannot be read: {error.strerror}", "check the path") from error


def parse_png_text(file: BinaryIO, name: str = "the picture") -> PngText:
    """As read_png_text, of an open file. Raises PngError."""
    size: tuple[int, int] | None = None
    texts: dict[str, str] = {}
    left, told = LARGEST_SUM, 0
    for chunk in _chunks(file, name):
        if chunk.kind == b"IHDR":
            size = _size(_data(file, chunk, name), name)
        elif chunk.kind in (b"tEXt", b"zTXt", b"iTXt"):
            told += 1
            if told > MOST_TEXTS:
                raise PngError(f"{name} has more than {MOST_TEXTS} texts beside its pixels")
            keyword, text = _text(chunk.kind, _data(file, chunk, name), min(left, LARGEST_TEXT), name)
            left -= len(text)
            texts.setdefault(keyword, text)
    if size is None:
        raise PngError(f"{name} does not say how large it is (no IHDR chunk)")
    return PngText(*size, texts)


def pixel_data(path: Path) -> bytes:
    """The pixels as they are stored, packed. Of one program two pictures are the same if these are. Raises PngError."""
    with path.open("rb") as file:
        parts = []
        for chunk in _chunks(file, path.name):
            if chunk.kind == b"IDAT":
                file.seek(chunk.start)
                parts.append(file.read(chunk.length))
    return b"".join(parts)


def with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG with these texts right after its size, in place of earlier ones of the same names. Raises PngError."""
    file = io.BytesIO(png)
    parts = [SIGNATURE]
    for chunk in _chunks(file, "the picture"):
        whole = png[chunk.start - _PREFIX.size : chunk.start + chunk.length + _CRC.size]
        if chunk.kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = png[chunk.start : chunk.start + 80].partition(b"\0")[0]
            if keyword.decode("latin-1") in texts:
                continue
        parts.append(whole)
        if chunk.kind == b"IHDR":
            parts += [_text_chunk(keyword, text) for keyword, text in texts.items()]
    return b"".join(parts)


def _chunks(file: BinaryIO, name: str) -> Iterator[_Chunk]:
    """The chunks up to IEND; the file may be moved between them."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise PngError(f"{name} is not a PNG file", "give the PNG itself, not a screenshot or a JPEG of it")
    end = file.seek(0, io.SEEK_END)
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        prefix = file.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            raise PngError(f"{name} ends in the middle", "fetch it again; it was cut off")
        length, kind = _PREFIX.unpack(prefix)
        at += _PREFIX.size
        if length > 2**31 - 1 or at + length + _CRC.size > end:
            raise PngError(f"{name} ends in the middle of a {_shown(kind)} chunk", "fetch it again; it was cut off")
        yield _Chunk(kind, length, at)
        if kind == b"IEND":
            return
        at += length + _CRC.size
    raise PngError(f"{name} has more than {MOST_CHUNKS} chunks")


def _data(file: BinaryIO, chunk: _Chunk, name: str) -> bytes:
    """A chunk's data, checked."""
    if chunk.length > LARGEST_TEXT:
        raise PngError(f"{name} has a {_shown(chunk.kind)} chunk of {chunk.length} bytes")
    file.seek(chunk.start)
    data = file.read(chunk.length)
    (crc,) = _CRC.unpack(file.read(_CRC.size))
    if zlib.crc32(chunk.kind + data) != crc:
        raise PngError(f"{name} is damaged: its {_shown(chunk.kind)} chunk has a wrong checksum", "fetch it again")
    return data


def _size(data: bytes, name: str) -> tuple[int, int]:
    if len(data) != 13:
        raise PngError(f"{name} is damaged: its IHDR chunk has {len(data)} bytes, not 13")
    width, height = struct.unpack(">II", data[:8])
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise PngError(f"{name} claims {width} x {height} pixels")
    return width, height


def _text(kind: bytes, data: bytes, at_most: int, name: str) -> tuple[str, str]:
    """Keyword and text of a chunk."""
    head, _, rest = data.partition(b"\0")
    keyword = head.decode("latin-1")
    if not 1 <= len(head) <= 79:
        raise PngError(f"{name} has a text without a proper name")
    is_compressed = kind == b"zTXt"
    if kind == b"iTXt":
        is_compressed, rest = rest[:1] == b"\x01", rest[2:]
        _, _, rest = rest.partition(b"\0")  # its language
        _, _, rest = rest.partition(b"\0")  # its name in that language
    elif is_compressed:
        rest = rest[1:]
    if is_compressed:
        rest = _inflated(rest, at_most, keyword, name)
    if len(rest) > at_most:
        raise PngError(f"{name} has more than {at_most} bytes of text in `{keyword}`")
    return keyword, rest.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")


def _inflated(data: bytes, at_most: int, keyword: str, name: str) -> bytes:
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(data, at_most + 1)
    except zlib.error as error:
        raise PngError(f"{name} is damaged: its text `{keyword}` cannot be unpacked") from error
    if len(text) > at_most:
        raise PngError(f"{name} has a text `{keyword}` that unpacks to more than {at_most} bytes")
    return text


def _text_chunk(keyword: str, text: str) -> bytes:
    """As iTXt, as the text may be in any script; not compressed, so that it can be found in the file by eye."""
    data = keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8", "replace")
    return _PREFIX.pack(len(data), b"iTXt") + data + _CRC.pack(zlib.crc32(b"iTXt" + data))


def _shown(kind: bytes) -> str:
    return "".join(chr(byte) if chr(byte).isascii() and chr(byte).isalpha() else "?" for byte in kind)

"""Which rows a step learns from, and how they share memory. The order is a function of seed and step, so nothing of it
needs saving: a resumed run takes the rows it would have taken."""

from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import torch

from engine.contract.settings import AutoOrCount
from engine.data.chat import Example
from engine.data.mixture import Part, mixed
from engine.logprobs import Rows

#: Padded tokens in memory at once when micro_batch_size is auto: well within a small GPU at a vocabulary of 150,000.
TOKENS_AT_ONCE = 16_384

Item = TypeVar("Item")


def rows_of_step(
    step: int, *, batch_size: int, n_rows: int, seed: int, shuffle: bool, parts: Sequence[Part] = ()
) -> list[int]:
    """Indices of the rows that `step` (from 1) consumes; epochs follow each other without a gap.

    parts: the sources that the rows are of, one after the other; where they have weights, each gives its share.
    """
    places = range((step - 1) * batch_size, step * batch_size)
    if any(part.weight is not None for part in parts):
        # Sources of one size still need orders of their own.
        return [mixed(p, parts, lambda n, source, epoch: _order(n, mix(seed, source), epoch, shuffle)) for p in places]
    return [_order(n_rows, seed, place // n_rows, shuffle)[place % n_rows] for place in places]


@lru_cache(maxsize=16)
def _order(n_rows: int, seed: int, epoch: int, shuffle: bool) -> Sequence[int]:
    if not shuffle:
        return range(n_rows)
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    # As bytes: a list of millions of numbers would take ten times the memory.
    return array("q", torch.randperm(n_rows, generator=generator).numpy().tobytes())


def mix(*numbers: int) -> int:
    """One seed out of several numbers, so that neighbours do not share a stream (FNV-1a over their bytes)."""
    value = 0xCBF29CE484222325
    for number in numbers:
        for byte in int(number).to_bytes(8, "little", signed=True):
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value >> 1


def share_of(items: Sequence[Item], *, rank: int, processes: int) -> list[Item]:
    """This process's part of a batch: neighbours, so that a prompt's answers stay together."""
    size = len(items) // processes
    return list(items[rank * size : (rank + 1) * size])


def micro_batches(items: Sequence[Item], lengths: Sequence[int], size: AutoOrCount) -> list[list[Item]]:
    """Cut a batch, in its order, into parts that fit into memory."""
    parts: list[list[Item]] = [[]]
    longest = 0
    for item, length in zip(items, lengths, strict=True):
        longest = max(longest, length)
        count = len(parts[-1]) + 1
        is_full = count * longest > TOKENS_AT_ONCE if size == "auto" else count > size
        if is_full and parts[-1]:
            parts.append([])
            longest = length
        parts[-1].append(item)
    return parts


def best_fit(items: Sequence[Item], lengths: Sequence[int], block: int) -> list[list[Item]]:
    """Items in blocks of at most `block` tokens: longest first, each into the fullest block that still has room."""
    blocks: list[list[Item]] = []
    rooms: list[int] = []
    for index in sorted(range(len(items)), key=lambda index: -lengths[index]):
        fitting = [place for place, room in enumerate(rooms) if room >= lengths[index]]
        place = min(fitting, key=lambda place: rooms[place], default=len(blocks))
        if place == len(blocks):
            blocks.append([])
            rooms.append(block)
        blocks[place].append(items[index])
        rooms[place] -= lengths[index]
    return blocks


def pad_rows(examples: Sequence[Example], pad_id: int) -> Rows:
    """Right-padded tensors of the examples."""
    width = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), width), pad_id, dtype=torch.long)
    is_token = torch.zeros(len(examples), width, dtype=torch.bool)
    is_target = torch.zeros(len(examples), width, dtype=torch.bool)
    for index, example in enumerate(examples):
        length = len(example.ids)
        ids[index, :length] = torch.tensor(example.ids)
        is_token[index, :length] = True
        is_target[index, :length] = torch.tensor(example.is_target)
    return Rows(ids, is_token, is_target)

"""What the reference thinks of answers: asked as each batch is made, or once for all and kept on disk.

Kept, it is a small file in the run's folder whose name says what it depends on: the reference's weights, the tokens of
all answers and their targets, how log-probabilities are summed. A run resumed finds it, and so does another run of the
same workspace that would have to work out the same.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from engine.contract.run_dir import read_json, write_json
from engine.contract.settings import AutoOrCount
from engine.data.batching import micro_batches
from engine.data.chat import Example
from engine.logprobs import Rows
from engine.methods.bench import Bench
from engine.methods.pairs import PairSet, Reference
from engine.packing import Line

#: The log-probability of each answer, (2B,), from those of its tokens, (N,), and where they stand, (2B, T).
Total = Callable[[Tensor, Tensor], Tensor]
#: What the reference thinks of the items at some places: of their first texts, then of their second ones, nats.
Ask = Callable[[Sequence[int]], Tensor]


def live(bench: Bench, total: Total) -> Reference:
    """The frozen copy, or the policy with its adapter switched off, asked as each batch is made."""

    def reference(part: Sequence[int], rows: Rows, line: Line | None) -> Tensor:
        with torch.no_grad(), bench.policy.without_adapter(), bench.accelerator.autocast():
            logps = (bench.reference_scorer or bench.bare_scorer)(rows, line=line).logps
        return total(logps, rows.is_target)

    return reference


def kept(pairs: PairSet, total: Total, *, about: str) -> Reference:
    """As `live`, but see `kept_logps`. about: what `total` depends on."""
    ask = live(pairs.bench, total)

    def ask_some(part: Sequence[int]) -> Tensor:
        return ask(part, *pairs.laid_out(part))

    logps = kept_logps(pairs.bench, pairs.pairs, ask_some, size=pairs.preset.training.micro_batch_size, about=about)

    def reference(part: Sequence[int], rows: Rows, line: Line | None) -> Tensor:
        return logps[:, list(part)].flatten().to(rows.input_ids.device)

    return reference


def kept_logps(bench: Bench, items: Sequence[Sequence[Example]], ask: Ask, *, size: AutoOrCount, about: str) -> Tensor:
    """The log-probability of every text, (texts of an item, items), nats; each item has as many.

    Asked here and now, before the policy learns anything, unless the answer is on disk already. size: items at once.
    about: what the sums depend on. Without a model of its own, the reference is the policy as it was loaded.
    """
    file = bench.folder / f"reference-{_fingerprint(bench, items, about)}.json"
    count = len(items) * len(items[0])
    own = _read(file, count)
    beside = (_read(other, count) for other in sorted(file.parent.parent.glob(f"*/{file.name}")))
    [found] = broadcast_object_list([own or next(filter(None, beside), None)])  # the first process decides for all
    if found is None:
        found = _ask_all(bench, items, ask, size)
    if bench.accelerator.is_main_process and own is None:
        write_json(file, {"logps": found})
    return torch.tensor(found).view(-1, len(items))


def _ask_all(bench: Bench, items: Sequence[Sequence[Example]], ask: Ask, size: AutoOrCount) -> list[float]:
    """Of the first texts of all items, then of the second ones. The processes share the work, long items together."""
    accelerator = bench.accelerator
    lengths = array("q", (len(item) * max(len(text.ids) for text in item) for item in items))
    order = sorted(range(len(items)), key=lambda place: -lengths[place])
    mine = order[accelerator.process_index :: accelerator.num_processes]
    told: dict[int, list[float]] = {}
    for part in micro_batches(mine, [lengths[place] for place in mine], size) if mine else []:
        bench.reporter.phase("asking the reference", len(told) / len(mine))
        told |= dict(zip(part, ask(part).view(-1, len(part)).T.tolist(), strict=True))
    everyones = gather_object([told]) if accelerator.num_processes > 1 else [told]
    whole = {place: logps for share in everyones for place, logps in share.items()}
    return [whole[place][text] for text in range(len(items[0])) for place in range(len(items))]


def _read(file: Path, count: int) -> list[float] | None:
    logps = read_json(file).get("logps")
    return logps if isinstance(logps, list) and len(logps) == count else None


def _fingerprint(bench: Bench, items: Sequence[Sequence[Example]], about: str) -> str:
    """Of all that decides what the reference thinks of the items."""
    digest = hashlib.sha256(f"{about} {bench.accelerator.mixed_precision}".encode())
    model: nn.Module = bench.policy.reference or bench.policy.model
    for name, weight in model.named_parameters():
        if not (bench.policy.has_adapter and weight.requires_grad):  # the adapter, which is switched off
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
            bench.breathe()
    for item in items:
        digest.update(repr([(text.ids, text.is_target) for text in item]).encode())
    return digest.hexdigest()[:32]

"""What the reference thinks of pairs: asked as each batch is made, or once for all and kept on disk.

Kept, it is a small file in the run's folder whose name says what it depends on: the reference's weights, the tokens of
all pairs and their targets, how log-probabilities are summed. A run resumed finds it, and so does another run of the
same workspace that would have to work out the same.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from engine.contract.run_dir import read_json, write_json
from engine.data.preferences import Pair
from engine.logprobs import Rows
from engine.methods.bench import Bench
from engine.methods.pairs import PairSet, Reference
from engine.packing import Line

#: The log-probability of each answer, (2B,), from those of its tokens, (N,), and where they stand, (2B, T).
Total = Callable[[Tensor, Tensor], Tensor]


def live(bench: Bench, total: Total) -> Reference:
    """The frozen copy, or the policy with its adapter switched off, asked as each batch is made."""

    def reference(part: Sequence[int], rows: Rows, line: Line | None) -> Tensor:
        with torch.no_grad(), bench.policy.without_adapter(), bench.accelerator.autocast():
            logps = (bench.reference_scorer or bench.bare_scorer)(rows, line=line).logps
        return total(logps, rows.is_target)

    return reference


def kept(pairs: PairSet, total: Total, *, about: str) -> Reference:
    """Asked here and now, before the policy learns anything, unless the answer is on disk already.

    about: what `total` depends on. Without a model of its own, the reference is the policy as it was loaded.
    """
    bench = pairs.bench
    file = bench.folder / f"reference-{_fingerprint(bench, pairs.pairs, about)}.json"
    own = _read(file, 2 * len(pairs.pairs))
    beside = (_read(other, 2 * len(pairs.pairs)) for other in sorted(file.parent.parent.glob(f"*/{file.name}")))
    [found] = broadcast_object_list([own or next(filter(None, beside), None)])  # the first process decides for all
    if found is None:
        found = _ask_all(pairs, live(bench, total))
    if bench.accelerator.is_main_process and own is None:
        write_json(file, {"logps": found})
    logps = torch.tensor(found).view(2, -1)

    def reference(part: Sequence[int], rows: Rows, line: Line | None) -> Tensor:
        return logps[:, list(part)].flatten().to(rows.input_ids.device)

    return reference


def _ask_all(pairs: PairSet, ask: Reference) -> list[float]:
    """Of the chosen answers, then of the rejected ones. The processes share the work, long pairs together."""
    accelerator, count = pairs.bench.accelerator, len(pairs.pairs)
    order = sorted(range(count), key=lambda index: -max(len(side.ids) for side in pairs.pairs[index]))
    mine = order[accelerator.process_index :: accelerator.num_processes]
    told: dict[int, tuple[float, float]] = {}
    for part in pairs.cut(mine):
        pairs.bench.reporter.phase("asking the reference", len(told) / len(mine))
        chosen, rejected = ask(part, *pairs.laid_out(part)).chunk(2)
        told |= dict(zip(part, zip(chosen.tolist(), rejected.tolist(), strict=True), strict=True))
    everyones = gather_object([told]) if accelerator.num_processes > 1 else [told]
    whole = {index: both for share in everyones for index, both in share.items()}
    return [whole[index][side] for side in (0, 1) for index in range(count)]


def _read(file: Path, count: int) -> list[float] | None:
    logps = read_json(file).get("logps")
    return logps if isinstance(logps, list) and len(logps) == count else None


def _fingerprint(bench: Bench, pairs: Sequence[Pair], about: str) -> str:
    """Of all that decides what the reference thinks of the pairs."""
    digest = hashlib.sha256(f"{about} {bench.accelerator.mixed_precision}".encode())
    model: nn.Module = bench.policy.reference or bench.policy.model
    for name, weight in model.named_parameters():
        if not (bench.policy.has_adapter and weight.requires_grad):  # the adapter, which is switched off
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
            bench.breathe()
    for pair in pairs:
        digest.update(repr([(side.ids, side.is_target) for side in pair]).encode())
    return digest.hexdigest()[:32]

"""What a run will take, as far as it shows without loading anything: parameters, bytes on disk, devices."""

import json
import platform
import struct
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.contract import settings
from engine.contract.run_dir import RunDir, is_run_dir

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.gguf")
BYTE_VOCABULARY = 258
FLOAT32 = 4
#: AdamW keeps two numbers beside each weight.
COPIES_WITH_OPTIMIZER = 3
#: A quantised GGUF file holds weights of 4 to 16 bits, which train and are saved as 32.
GGUF_GROWTH = 4


def parameters(model: settings.Model) -> int | None:
    """How many weights the model has; None where that would take a download."""
    if model.path == "scratch":
        return None if model.scratch is None else _scratch_parameters(model.scratch)
    folder = _weights_folder(Path(model.path))
    if folder is None or (folder / "adapter_config.json").is_file():
        return None
    counts = [_safetensors_parameters(file) for file in sorted(folder.glob("*.safetensors"))]
    return sum(counts) or None


def checkpoint_bytes(model: settings.Model) -> int:
    """What one checkpoint will take on disk, roughly; 0 where nobody knows."""
    weights = _weight_bytes(model)
    if model.adapter is not None:
        # An adapter of rank 16 is a few hundredths of the weights it stands beside; a virtual token far less.
        share = model.adapter.rank / 512 if model.adapter.is_low_rank else model.adapter.virtual_tokens / 4096
        return round(COPIES_WITH_OPTIMIZER * weights * share)
    return COPIES_WITH_OPTIMIZER * weights


def weights_in_memory(model: settings.Model) -> int:
    """What its weights take as 32-bit numbers; 0 where nobody knows, as of an adapter without its base."""
    if (known := parameters(model)) is not None:
        return known * FLOAT32
    is_gguf = model.path.lower().endswith(".gguf") and Path(model.path).is_file()
    return _weight_bytes(model) if is_gguf else 0


def _weight_bytes(model: settings.Model) -> int:
    if model.path == "scratch":
        return 0 if model.scratch is None else _scratch_parameters(model.scratch) * FLOAT32
    path = Path(model.path)
    if path.is_file():
        return path.stat().st_size * (GGUF_GROWTH if path.suffix.lower() == ".gguf" else 1)
    folder = _weights_folder(path)
    return 0 if folder is None else sum(f.stat().st_size for kind in WEIGHT_FILES for f in folder.glob(kind))


def _weights_folder(path: Path) -> Path | None:
    """Where a model on this machine keeps its weights; of a run, its final model or newest checkpoint."""
    if not path.is_absolute() or not path.is_dir():
        return None
    if not is_run_dir(path):
        return path
    run = RunDir(path)
    saved = run.saved_steps()
    folder = run.final if run.final.is_dir() else run.checkpoint(saved[-1]) if saved else None
    if folder is None:
        return None
    return folder / "model" if (folder / "model").is_dir() else folder


def _scratch_parameters(scratch: settings.Scratch) -> int:
    """Embedding and head, and for each block about 12 width² of attention and feed-forward."""
    return scratch.width * (2 * BYTE_VOCABULARY + 12 * scratch.layers * scratch.width)


def _safetensors_parameters(file: Path) -> int:
    """The count that the file's header gives; 0 if it has none that can be read."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header: dict[str, Any] = json.loads(stream.read(min(length, 100_000_000)))
        return sum(_product(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, ValueError, struct.error, KeyError, TypeError):
        return 0


def _product(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


@lru_cache(maxsize=1)
def nvidia_devices() -> int:
    """NVIDIA GPUs that the driver tells of; 0 without a driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except Exception:  # noqa: BLE001 - without a driver pynvml fails in a dozen ways, all of which mean none
        return 0


def has_apple_gpu() -> bool:
    """Whether this is a Mac with Apple's own chip."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def megabytes(size: int) -> str:
    """A size in the unit a person would use."""
    if size >= 10_000_000_000:
        return f"{size / 1e9:,.0f} GB"
    return f"{size / 1e9:.1f} GB" if size >= 1_000_000_000 else f"{max(1, round(size / 1e6))} MB"


def count(number: int) -> str:
    """A count of parameters as people say it: 135 M, 0.61 M, 7.2 B."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if (number >= size / 10 and unit != "k") or number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)

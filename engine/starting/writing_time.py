"""How long models may take to answer prompts, before any of them is opened."""

import math
import time

import numpy as np

from engine.contract import settings
from engine.contract.labels_recipe import Writer, Written
from engine.starting.estimates import nvidia_devices, weights_in_memory

#: A matrix of this width is larger than the caches, so that reading it takes what reading a model's weights takes.
MEASURED_WIDTH = 4096


def seconds_to_write(part: Written, prompts: int) -> float | None:
    """What the answers may take on this processor; None where nobody knows before it is tried, as on a GPU.

    Each token of a batch reads all weights once, so the time is their size over the speed of the memory. Answers that
    end early take less, prompts that are long take more.
    """
    batches = math.ceil(prompts / part.prompts_at_once)
    sizes = [_bytes_read(writer) for writer in part.writers]
    if not all(sizes):
        return None
    read = sum(size * writer.max_new_tokens for size, writer in zip(sizes, part.writers, strict=True))
    return batches * read / memory_speed()


def _bytes_read(writer: Writer) -> int:
    """Of the weights, once; 0 where that is not known or not what takes the time."""
    is_on_cpu = writer.device == "cpu" or (writer.device == "auto" and nvidia_devices() == 0)
    return weights_in_memory(settings.Model(path=writer.model)) if is_on_cpu else 0


def memory_speed() -> float:
    """Bytes a second at which this machine multiplies a large matrix by a vector, the best of three times."""
    matrix, vector = np.ones((MEASURED_WIDTH, MEASURED_WIDTH), np.float32), np.ones(MEASURED_WIDTH, np.float32)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        matrix @ vector
        times.append(time.perf_counter() - started)
    return matrix.nbytes / min(times)

"""The processor's memory, kept between steps: a step asks for the same large tensors as the step before it."""

import ctypes
import sys

#: Options of mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Larger blocks are mapped one by one and given back at once; glibc's own choice is at most 32 MiB.
MAPPED_FROM = 2**28
#: Free memory at the end of the heap beyond it is given back.
TRIMMED_FROM = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed for what is allocated next; False where another allocator serves.

    Left alone it returns large blocks to the system, which hands them out again page by page and zeroed: 4 to 7% of a
    step of a small model on a CPU. The highest use is no higher for it. A graphics card has an allocator of its own.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(M_MMAP_THRESHOLD, MAPPED_FROM) and mallopt(M_TRIM_THRESHOLD, TRIMMED_FROM))

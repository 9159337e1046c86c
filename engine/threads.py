"""How many CPU threads to compute with: measured, as two threads on a busy host can be twenty times slower than one."""

import time
from collections.abc import Callable

import psutil
import torch

#: Another thread must be worth this much, or it only takes from what else runs here.
WORTH_A_DOUBLING = 1.15
SECONDS_A_TRIAL = 0.3


def calibrate(work: Callable[[], object], *, processes: int = 1) -> int:
    """Run `work` with 1, 2, 4 … threads, keep the fewest that are fast, set and return them."""
    cores = max(1, (psutil.cpu_count(logical=False) or 1) // processes)
    candidates = sorted({1, cores} | {2**i for i in range(1, cores.bit_length()) if 2**i <= cores})
    best, best_seconds = 1, float("inf")
    for threads in candidates:
        torch.set_num_threads(threads)
        seconds = _fastest(work)
        if seconds * WORTH_A_DOUBLING < best_seconds:
            best, best_seconds = threads, seconds
        elif seconds > 2 * best_seconds:
            break
    torch.set_num_threads(best)
    return best


def _fastest(work: Callable[[], object]) -> float:
    """Median of as many runs as fit into the trial, after a warm-up: the shortest would hide a host that stalls."""
    work()
    times: list[float] = []
    end = time.perf_counter() + SECONDS_A_TRIAL
    while not times or (time.perf_counter() < end and len(times) < 20):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]

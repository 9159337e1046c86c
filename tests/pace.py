"""How slow the machine is just now, so that a limit of time holds on a shared one and still tells what is too slow."""

import json
import time
from collections.abc import Callable

#: What `slowness` measures on the idle two-core machine where the limits of tests were set.
IDLE_SECONDS = 0.0024
_WORK = {str(n): [n, str(n), None, {"n": n / 7}] for n in range(1000)}


def slowness(clock: Callable[[], float] = time.process_time) -> float:
    """How many times as long as there a fixed piece of work takes now: a neighbour takes cache and clock rate, too.

    At least 1: on a fast machine the limits stay what they are.
    """
    began = clock()
    json.loads(json.dumps(_WORK))
    return max(1.0, (clock() - began) / IDLE_SECONDS)

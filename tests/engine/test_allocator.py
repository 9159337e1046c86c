"""Memory that was freed is kept for what is allocated next."""

import subprocess
import sys

import pytest

#: Counts the pages that a tensor of 40 MiB has to be given after many like it were freed.
AGAIN = """
import resource, sys, torch
from engine.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(20):
    torch.ones(10 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(10 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_given(mode: str) -> int:
    command = [sys.executable, "-c", AGAIN, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_tensor_gets_the_pages_of_those_before_it() -> None:
    assert pages_given("kept") < pages_given("left alone") / 10

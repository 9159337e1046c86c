"""What engines in processes of their own are forked from; see running.py."""

import multiprocessing
from multiprocessing.context import ForkServerContext

import pytest
import torch


@pytest.fixture(scope="session")
def fork_server() -> ForkServerContext:
    """What lives are forked from: it has imported everything and computed nothing, so a fork loses no thread."""
    torch.set_num_threads(1)  # a second thread fights with whatever else this machine tests
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "peft", "datasets", "tests.engine.running", "engine.assembly"])
    first = context.Process(target=int)
    first.start()
    first.join()
    return context

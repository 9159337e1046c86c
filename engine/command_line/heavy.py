"""Commands that load a model in their own process: libraries are kept quiet, and what goes wrong is told plainly."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from engine.contract.faults import Fault, PresetError


@contextmanager
def heavy(what: str) -> Iterator[None]:
    """Within it torch and transformers may be imported. Raises PresetError for a fault of ours or of a library's.

    what: the model or file that a fault is told about.
    """
    # Must stand before the first imports. The threads of tokenizers are of no use to a few prompts.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")  # a bar of its own for each tensor that a GGUF file holds
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn each other there, never the person at the terminal
            yield
    except PresetError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OSError(None, "out of memory; use a smaller --batch-size or --max-new-tokens") from error
    except ValueError as error:
        raise PresetError(what, [as_fault(error)]) from error


def as_fault(error: ValueError) -> Fault:
    """Our errors say what is wrong, and after the first semicolon what to do."""
    problem, _, remedy = " ".join(str(error).split()).partition("; ")
    return Fault((), "", problem, remedy or "check what was given")

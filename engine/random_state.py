"""The state of every random generator a step may draw from, as tensors: saved without a pickle, the same on return."""

import math
import random

import numpy as np
import torch
from torch import Tensor

State = dict[str, Tensor]


def own() -> State:
    """Where the generators of this process stand."""
    _, keys, position, has_gauss, numpy_gauss = np.random.get_state()
    _, words, python_gauss = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor([*map(int, np.asarray(keys)), int(position), int(has_gauss)], dtype=torch.int64),
        "python": torch.tensor(words, dtype=torch.int64),
        "gauss": torch.tensor(
            [float(numpy_gauss), math.nan if python_gauss is None else python_gauss], dtype=torch.float64
        ),
    }
    return state | {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else state


def restore(state: State) -> None:
    """Put the generators of this process where `own` found them."""
    torch.set_rng_state(state["torch"].to(torch.uint8))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].to(torch.uint8))
    numpy_gauss, python_gauss = state["gauss"].tolist()
    *keys, position, has_gauss = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, numpy_gauss))
    random.setstate((3, tuple(state["python"].tolist()), None if math.isnan(python_gauss) else python_gauss))

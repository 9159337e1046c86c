"""The methods, each a page of its own, and the only registry of them.

| method | paper | where we depart |
|---|---|---|
| sft | maximum likelihood on the answers | token mean over the whole step, however it is cut up |
| dpo | Rafailov et al. 2023, arXiv:2305.18290, eq. 7 | label smoothing on it is cDPO; its kin in preference_losses.py |
| grpo | Shao et al. 2024, arXiv:2402.03300, eq. 3 | mean over tokens (DAPO, 2503.14476, eq. 12); KL times the ratio |
"""

from collections.abc import Callable
from typing import Any

from engine.loop import Method
from engine.methods.bench import Bench
from engine.methods.dpo import dpo
from engine.methods.grpo import grpo
from engine.methods.sft import sft

#: Preset method -> what builds it from a preset and the bench it works at.
METHODS: dict[str, Callable[[Any, Bench], Method]] = {"sft": sft, "dpo": dpo, "grpo": grpo}

#: Methods that may need a model in memory to compare the policy with, and when.
NEEDS_REFERENCE: dict[str, Callable[[Any], bool]] = {
    "dpo": lambda preset: preset.dpo.reference == "live" or preset.model.reference is not None,
    "grpo": lambda preset: preset.grpo.beta > 0,
}

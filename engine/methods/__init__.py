"""The methods, each a page of its own, and the only registry of them.

| method | paper | where we depart |
|---|---|---|
| sft | maximum likelihood on the answers | token mean over the whole step, however it is cut up |
| reward_model | Ouyang et al. 2022, arXiv:2203.02155, eq. 1 | a batch counts prompts; centring and margins beside it |
| dpo | Rafailov et al. 2023, arXiv:2305.18290, eq. 7 | label smoothing on it is cDPO; its kin in preference_losses.py |
| kto | Ethayarajh et al. 2024, arXiv:2402.01306, eq. 7 | KL estimated over the whole step, however it is cut up |
| orpo | Hong et al. 2024, arXiv:2403.07691, eq. 6 | SFT part: token mean over the step, prompts as in TRL |
| simpo | Meng et al. 2024, arXiv:2405.14734, eq. 6 | none |
| cpo | Xu et al. 2024, arXiv:2401.08417, eq. 5 | hinge and ipo in place of its loss, as in TRL |
| ppo | Schulman et al. 2017, arXiv:1707.06347, eq. 7 and 9 | KL in the reward, whitening, clipped values, as in TRL |
| grpo | Shao et al. 2024, arXiv:2402.03300, eq. 3 | mean over tokens (DAPO, 2503.14476, eq. 12); KL times the ratio |
| best_of_n | Dong et al. 2023, arXiv:2304.06767, alg. 1 | ranks over the step, not the whole data; elite share, too |
| online_dpo | Guo et al. 2024, arXiv:2402.04792, alg. 1 | ties teach nothing; of more than two answers best and worst |
| distill | Agarwal et al. 2023, arXiv:2306.13649, alg. 1 | lambda chooses prompt by prompt, not step by step |

Relatives of GRPO are choices of its section, each with a preset that spells them out:

| preset | paper | where we depart |
|---|---|---|
| reinforce_pp | Hu 2025, arXiv:2501.03262 | none |
| rloo | Ahmadian et al. 2024, arXiv:2402.14740 | none |
| dr_grpo | Liu et al. 2025, arXiv:2503.20783 | none |
| dapo | Yu et al. 2025, arXiv:2503.14476 | refills are bounded; a step short of prompts learns from those it has |
| gspo | Zheng et al. 2025, arXiv:2507.18071 | none |
| sapo | arXiv:2511.20347 | none |
| vespo | arXiv:2602.10693 | none |
| scalerl | Khatri et al. 2025, arXiv:2510.13786 | sampling and learning take turns; nothing samples ahead |
"""

from collections.abc import Callable
from typing import Any

from engine.loop import Method
from engine.methods.bench import Bench
from engine.methods.best_of_n import best_of_n
from engine.methods.cpo import cpo
from engine.methods.distill import distill
from engine.methods.dpo import dpo
from engine.methods.grpo import grpo
from engine.methods.kto import kto
from engine.methods.online_dpo import online_dpo
from engine.methods.orpo import orpo
from engine.methods.ppo import ppo
from engine.methods.reward_model import reward_model
from engine.methods.sft import sft
from engine.methods.simpo import simpo

#: Preset method -> what builds it from a preset and the bench it works at.
METHODS: dict[str, Callable[[Any, Bench], Method]] = {
    "sft": sft,
    "reward_model": reward_model,
    "dpo": dpo,
    "kto": kto,
    "orpo": orpo,
    "simpo": simpo,
    "cpo": cpo,
    "grpo": grpo,
    "ppo": ppo,
    "best_of_n": best_of_n,
    "online_dpo": online_dpo,
    "distill": distill,
}

#: Methods that may need a model in memory to compare the policy with, and when.
NEEDS_REFERENCE: dict[str, Callable[[Any], bool]] = {
    "dpo": lambda preset: preset.dpo.reference == "live" or preset.model.reference is not None,
    "kto": lambda preset: preset.kto.reference == "live" or preset.model.reference is not None,
    "grpo": lambda preset: preset.grpo.beta > 0,
    "ppo": lambda preset: preset.ppo.beta > 0,
    "online_dpo": lambda preset: True,
}

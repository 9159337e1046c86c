"""A part of a reward that compares answers as mathematics, against a column of the data; see math_answers.py."""

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engine.contract import online_settings
from engine.rewards.own_function import asked, opened, started
from engine.rewards.parts import Answered, Part, RewardError, Surroundings
from engine.rewards.rules import right_answer

#: What is run, and the function in it.
FILE, FUNCTION = Path(__file__).with_name("math_answers.py"), "math_verify"


def math_verify(part: online_settings.MathVerify, around: Surroundings) -> Part:
    """Raises RewardError if the package is not there."""
    if importlib.util.find_spec("math_verify") is None:
        raise RewardError('rewards: math_verify needs one more package: pip install "plumbline-workbench[reasoning]"')
    helper = opened(FILE, FUNCTION, part.timeout, around)
    started(helper)

    def arguments(answers: Sequence[Answered]) -> dict[str, Any]:
        right = [right_answer(answered.row, part.column, "math_verify") for answered in answers]
        return {"completions": [answered.text for answered in answers], "right": right}

    return partial(asked, helper, arguments=arguments)

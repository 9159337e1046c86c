"""A reward of your own: an example to copy, and how to write one.

A preset names it so, and says yes to running it:

    rewards:
      - kind: function
        path: my_reward.py
        function: reward
        allow_code: true

The function is called with all answers of a step at once, everything by name, as TRL's trainers do it:

    prompts         one for each answer: a string, or a list of messages where the data has conversations
    completions     the answers: strings, or for conversations lists with the one message of the assistant
    completion_ids  the tokens of each answer
    <any column>    each column of the data, one entry for each answer; None where a row does not have it

Name what you need and take the rest as `**columns`. Return one number for each answer, in their order. The scale is
yours: GRPO compares the answers to one prompt with each other, and `weight` in the preset sets parts against others.

What to know:

- Return None for an answer that this function has nothing to say of; the other parts of the reward then decide alone.
- NaN, text instead of a number, an exception, or no reply within `timeout` seconds are failures. They are counted in
  `rewards/<function>/failed` and told with the line; an answer without a reward is not learned from. An exception costs
  the whole batch, so catch what you expect.
- The file runs in a process of its own that is started once: load what takes long at the top of the file, not in the
  function. What it prints goes to the run's engine.log. Files beside it can be imported.
- `async def` works, for a function that asks other machines.
- It is a program and may do whatever you may do. Its sha256 stands in the run's environment.json.

`python -m engine check my_preset.yaml` calls it once and shows what it gave.
"""

from typing import Any


def short_and_sure(
    prompts: list[Any], completions: list[Any], answer: list[str | None], **columns: Any
) -> list[float | None]:
    """1 for the right answer alone, up to a half for some of its characters, None where nobody knows it."""
    return [
        None if right is None else worth(text_of(completion), right)
        for completion, right in zip(completions, answer, strict=True)
    ]


def worth(text: str, right: str) -> float:
    """Partial credit finds what all-or-nothing never would: a model that begins at random is hardly ever right."""
    if text.strip() == right:
        return 1.0
    known = sum(character in right for character in text)
    return 0.5 * known / max(len(text), len(right))


def text_of(completion: Any) -> str:
    """The answer as text, also where it is a message."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])

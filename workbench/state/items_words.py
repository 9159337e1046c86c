"""What a recipe will make, an import read or an export write, in the words of the window."""

from engine.contract.labels_plan import FilePlan, ItemsPlan, PartPlan
from workbench.state.figures import count, duration

#: What the rows of each kind of source are called.
ROWS = {"written": "prompt", "drawn": "picture", "rollouts": "answer", "completions": "prompt", "preferences": "pair"}


def said_of_plan(plan: ItemsPlan) -> str:
    """One line: how much, how long, and where it goes."""
    if not plan.items:
        return "Nothing to compare: no prompt has two answers"
    # Of answers that a model has yet to write, two may be the same words, and nobody is asked about those.
    about = "up to " if any(part.kind == "written" for part in plan.parts) else ""
    about = "about " if any(part.is_rough for part in plan.parts) else about
    parts = [f"{about}{_of(plan.items, 'item')}"]
    if plan.tokens:
        parts.append(f"{count(plan.tokens)} tokens at most")
    if plan.seconds:
        # Reading prompts and other work of the machine come on top.
        parts.append(f"{duration(plan.seconds)} or more on this processor")
    elif plan.tokens or any(part.kind == "drawn" for part in plan.parts):
        parts.append("the time shows with the first item")
    if not plan.is_new:
        parts.append(f"added to {plan.name}, which is there already")
    return "  ·  ".join(parts)


def about_plan(plan: ItemsPlan) -> str:
    """What each source has, and which rows cannot be used."""
    several = len(plan.parts) > 1
    return "\n".join(
        f"{f'{number}   ' if several else ''}{_of_part(part)}" for number, part in enumerate(plan.parts, start=1)
    )


def said_of_file(plan: FilePlan) -> str:
    """What is read or written, by its kinds: `preference: 60 rows, 1 item`, or its splits: `kto: 90 train, 10 test`."""
    counts = [
        _of(number, name.removesuffix("s")) if name.endswith("s") else f"{count(number)} {name}"
        for name, number in plan.counts.items()
    ]
    told = f"{plan.format}: {', '.join(counts)}"
    return f"{told}; {plan.left_out}" if plan.left_out else told


def _of_part(part: PartPlan) -> str:
    about = "about " if part.is_rough else ""
    told = f"{about}{_of(part.rows, ROWS.get(part.kind, 'row'))}, {about}{_of(part.items, 'item')}"
    return f"{told}; {part.left_out}" if part.left_out else told


def _of(number: int, what: str) -> str:
    return f"{count(number)} {what}" if number == 1 else f"{count(number)} {what}s"

"""Rewards that run code, asked once about a sample, before they are asked about thousands of answers."""

from collections.abc import Iterator

from engine.assembly import Parts
from engine.contract import online_settings
from engine.contract.findings import Finding
from engine.data.sources import Row
from engine.rewards import Answered, Score
from engine.rewards.parts import Failure

#: An answer where the first row has none of its own.
SAMPLE = "A sample answer."
#: Characters of it that are shown.
SHOWN = 60


def of_code(parts: Parts) -> Iterator[Finding]:
    """What each such part says of the first row, answered by what the row has for an answer."""
    bench = parts.bench
    for index, part in enumerate(getattr(parts.preset, "rewards", [])):
        if not isinstance(part, online_settings.OwnFunction | online_settings.MathVerify):
            continue
        row = bench.train.rows[0]
        text = _answer(row)
        ids = bench.policy.tokenizer(text, add_special_tokens=False)["input_ids"]
        [(name, score)] = bench.reward([part]).try_out(Answered(row, text, ids, bench.encoder.prompt(row))).items()
        yield _finding(name, score, text, f"rewards.{index}")


def _answer(row: Row) -> str:
    given = next((row[name] for name in ("answer", "completion") if row.get(name) is not None), SAMPLE)
    return str(given[-1].get("content", SAMPLE)) if isinstance(given, list) and given else str(given)


def _finding(name: str, score: Score, text: str, key: str) -> Finding:
    shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
    match score:
        case Failure():
            advice = "mend it; an answer without a reward is not learned from"
            return Finding(
                level="error", what=f"the reward {name} failed on {shown}: {score.why}", advice=advice, key=key
            )
        case None:
            what, advice = f"the reward {name} has nothing to say (None) of {shown}", "look whether that is meant"
            return Finding(level="warning", what=what, advice=advice, key=key)
        case _:
            what = f"the reward {name} gave {score:g} to {shown}, an answer to the first row"
            return Finding(level="info", what=what, key=key)

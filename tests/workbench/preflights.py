"""What an engine found before its first step, for windows to show."""

from typing import Any

from engine.contract.findings import Finding, Lengths, Measured, Report, SeenRow, SeenText


def text(prompt: str, answer: str, **changes: Any) -> SeenText:
    """A token for each character; the answer and its end count."""
    tokens = [*prompt, *answer, "<|end|>"]
    known: dict[str, Any] = {
        "tokens": tokens,
        "ids": [ord(token[0]) for token in tokens],
        "counted": [(len(prompt), len(tokens))],
        "length": len(tokens),
    }
    return SeenText(**{**known, **changes})


MEASURED = Measured(
    device="cpu",
    longest_seconds=0.4,
    step_seconds=0.32,
    run_seconds=68,
    peak_bytes=477_000_000,
    at_once=16,
    grad_norm=2.1,
)


def report(**changes: Any) -> Report:
    """Short conversations of which some are too long."""
    rows = [
        ("<|user|>\nWhat is the capital of France?<|end|>\n<|assistant|>\n", "Paris."),
        ("<|user|>\nName three colours.<|end|>\n<|assistant|>\n", "Red, green and blue."),
        (
            "<|user|>\nWrite one short sentence about rain.<|end|>\n<|assistant|>\n",
            "Rain taps softly on the old tin roof.",
        ),
    ]
    known: dict[str, Any] = {
        "rows": 120,
        "items": 118,
        "cut": 4,
        "repeated": 2,
        "held_out": 16,
        "also_held_out": 1,
        "left_out": [],
        "tokens": 9_412,
        "counted_tokens": 3_608,
        "lengths": Lengths(
            median=74,
            p95=112,
            longest=128,
            limit=128,
            width=6,
            bars=[0, 0, 0, 0, 1, 2, 4, 7, 9, 14, 15, 16, 13, 12, 8, 6, 4, 3, 2, 1, 1, 4],
        ),
        "shown": [SeenRow(place=f"instructions.jsonl, line {n}", texts=[text(*row)]) for n, row in enumerate(rows, 1)],
        "findings": [
            Finding(level="good", what="tokenizer and model fit: 258 tokens, 258 embeddings"),
            Finding(level="info", what="2 of 118 rows are the same as an earlier one"),
            Finding(
                level="warning",
                what="4 of 118 rows are cut at 128 tokens",
                advice="raise data.max_length if memory and model allow",
                key="data.max_length",
            ),
            Finding(level="good", what="every whole answer ends with <|end|> and learns it"),
        ],
        "measured": MEASURED,
        "writes_bytes": 93_000_000,
    }
    return Report(**{**known, **changes})

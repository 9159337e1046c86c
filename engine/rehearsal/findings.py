"""What pre-flights of text and of images share: sizes, and what keeps a run from starting."""

from engine.contract.findings import Report

#: What a run writes beside its checkpoints, whatever the model: events, log, answers.
RECORDS = 64 * 1024 * 1024
#: A saved weight takes this much, and so does each of the two numbers that AdamW keeps beside it.
FLOAT32 = 4


class Refused(ValueError):  # noqa: N818 - what happened
    """Nothing would be learned, or memory would not suffice: what is wrong, and on the next line what to do."""


def refuse_errors(report: Report) -> None:
    """Raises Refused for the first error among the findings."""
    if report.errors:
        first = report.errors[0]
        raise Refused(f"{first.what}\n{first.advice}")

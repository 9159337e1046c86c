"""What keeps a run from starting, of all that was found out about it."""

from engine.contract.findings import Report


class Refused(ValueError):  # noqa: N818 - what happened
    """Nothing would be learned, or memory would not suffice: what is wrong, and on the next line what to do."""


def refuse_errors(report: Report) -> None:
    """Raises Refused for the first error among the findings."""
    if report.errors:
        first = report.errors[0]
        raise Refused(f"{first.what}\n{first.advice}")

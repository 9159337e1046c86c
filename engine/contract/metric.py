"""What is known of a metric."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down", "none"]


@dataclass(frozen=True)
class Metric:
    """title: what a chart of it is called. direction: which way is better. is_count: of whole things."""

    title: str
    unit: str = ""
    direction: Direction = "none"
    meaning: str = ""
    paper: str = ""
    is_count: bool = False

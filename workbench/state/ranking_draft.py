"""A ranking of more than two answers while it is being keyed: pure, so that undo is a step back to what was."""

from typing import NamedTuple

Groups = tuple[tuple[int, ...], ...]


class Draft(NamedTuple):
    """groups: places on the screen from 0, best first, those of a group alike. joins: the next one goes beside the
    last."""

    groups: Groups = ()
    joins: bool = False

    def picked(self, place: int) -> "Draft":
        """This one comes next; it changes nothing if it has its place already."""
        if self.ranks(place):
            return self
        if self.joins and self.groups:
            return Draft((*self.groups[:-1], (*self.groups[-1], place)))
        return Draft((*self.groups, (place,)))

    def joined(self) -> "Draft":
        """The next one is as good as the last; said twice, it is not."""
        return self._replace(joins=bool(self.groups) and not self.joins)

    def taken_back(self) -> "Draft":
        """Without what was keyed last."""
        if self.joins or not self.groups:
            return self._replace(joins=False)
        *before, last = self.groups
        return Draft((*before, last[:-1]) if len(last) > 1 else tuple(before))

    def ranks(self, place: int) -> bool:
        return any(place in group for group in self.groups)

    def ranks_all(self, answers: int) -> bool:
        return sum(map(len, self.groups)) == answers

    def word(self, place: int) -> str:
        """What stands beside an answer: which place it has, and whether it shares it."""
        for number, group in enumerate(self.groups, start=1):
            if place in group:
                return f"place {number}, shared" if len(group) > 1 else f"place {number}"
        return ""

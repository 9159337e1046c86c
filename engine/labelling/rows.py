"""From judgements to the rows that methods learn from, as `data.formats` describes them. Pure functions.

A comparison becomes a pair; a ranking of K answers all K(K-1)/2 of its pairs, or, for a reward model, one row that
keeps them together: pairs of one prompt spread over an epoch overfit (Ouyang et al. 2022, arXiv:2203.02155, sec. 3.5).

Methods of images get {prompt, class, chosen, rejected, strength, group}: the pictures as paths within the set, class
None of a model that has none, strength None of a tie, and a group that pairs of the same prompt and noise share, by
which they are held out together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.contract.labels import Candidate, Item, Judgement
from engine.contract.labels_standing import pairs
from engine.contract.labels_use import LabelUse, is_used
from engine.labelling.items import identity

Row = dict[str, Any]

#: Methods that learn from pictures; all others learn from texts.
OF_PICTURES = frozenset({"diffusion_dpo", "image_reward_model"})
#: A method's name for who wants every judgement as a ranking, of two answers too.
RANKING = "ranking"
#: Strength -> margin. Touvron et al. 2023, arXiv:2307.09288, table 27, without its fourth grade, which is our tie.
MARGINS = {"small": {1: 1 / 3, 2: 2 / 3, 3: 1.0}, "large": {1: 1.0, 2: 2.0, 3: 3.0}}


@dataclass
class Learned:
    """Rows, the judgements they came from, and how many judgements gave none, by reason."""

    rows: list[Row] = field(default_factory=list)
    used: list[Judgement] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def told(self) -> str:
        """What was left out and why, in words; empty if nothing was."""
        return ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())


def learn(
    items: Sequence[Item],
    judgements: Sequence[Judgement],
    method: str,
    use: LabelUse,
    why_no_picture: Callable[[str], str] = lambda name: "",
) -> Learned:
    """The rows of all judgements that count, for `method`. judgements: the settled ones, see `Ledger.settled`.

    why_no_picture: why the picture of that name is not to be learned from; empty if it is.
    """
    known = {item.id: item for item in items}
    found = Learned()
    for judgement in judgements:
        why = _why_not(known.get(judgement.item), judgement, use)
        why = why or _of_another_kind(known[judgement.item], method, why_no_picture)
        rows = [] if why else list(_rows(known[judgement.item], judgement, method, use))
        if rows:
            found.rows += rows
            found.used.append(judgement)
        else:
            reason = why or _without_rows(judgement)
            found.left_out[reason] = found.left_out.get(reason, 0) + 1
    return found


def _why_not(item: Item | None, judgement: Judgement, use: LabelUse) -> str:
    """Why a judgement is not to be learned from, whatever the method; empty if it is."""
    if item is None or any(i >= len(item.candidates) for group in judgement.ranking for i in group):
        return "of items that are not in the set"
    if item.gold is not None:
        return "of gold items"
    if judgement.outcome == "skipped":
        return "skipped"
    if not is_used(judgement, use):
        return "flagged" if judgement.flagged and not use.flagged else "by others"
    return ""


def _of_another_kind(item: Item, method: str, why_no_picture: Callable[[str], str]) -> str:
    """Why an item is nothing for the method, which learns from texts or from pictures; empty if it is something."""
    has_pictures = any(candidate.text is None for candidate in item.candidates)
    if has_pictures != (method in OF_PICTURES):
        return "of images" if has_pictures else "of texts"
    names = [candidate.image for candidate in item.candidates if candidate.image is not None]
    return next(filter(None, map(why_no_picture, names)), "")


def _without_rows(judgement: Judgement) -> str:
    return "both bad" if judgement.outcome == "both_bad" else "tied" if judgement.is_tie else "without a pair"


def _rows(item: Item, judgement: Judgement, method: str, use: LabelUse) -> Iterator[Row]:
    if method in OF_PICTURES:
        yield from _picture_pairs(item, judgement, use)
    elif method == "kto":
        yield from _unpaired(item, judgement)
    elif method == "sft":
        best = judgement.ranking[0] if judgement.ranking and not judgement.is_tie else ()
        yield from ({"prompt": item.prompt, "completion": answer_of(item, index)} for index in best)
    elif method == RANKING or (method == "reward_model" and len(item.candidates) > 2):
        yield from _ranking(item, judgement)
    else:
        yield from _pairs(item, judgement, use)


def _pairs(item: Item, judgement: Judgement, use: LabelUse) -> Iterator[Row]:
    two = list(pairs(judgement))
    # The two rows together cost twice what one with the label 1/2 does, whatever the loss.
    soft = _tied(judgement) if use.ties == "soft" else []
    for better, worse in [*two, *soft]:
        row = {"prompt": item.prompt, "chosen": answer_of(item, better), "rejected": answer_of(item, worse)}
        strength = None if (better, worse) in soft else judgement.strength
        yield row if strength is None or use.margin == "none" else row | {"margin": MARGINS[use.margin][strength]}


def _picture_pairs(item: Item, judgement: Judgement, use: LabelUse) -> Iterator[Row]:
    soft = _tied(judgement) if use.ties == "soft" else []
    for better, worse in [*pairs(judgement), *soft]:
        yield {
            "prompt": item.prompt,
            "class": _record(item.candidates[better]).get("label"),
            "chosen": item.candidates[better].image,
            "rejected": item.candidates[worse].image,
            "strength": None if (better, worse) in soft else judgement.strength,
            "group": noise_group(item),
        }


def noise_group(item: Item) -> str:
    """The same for pairs of one prompt that began as the same noise; of pictures from elsewhere, for each pair."""
    noises = [(_record(one).get("seed"), _record(one).get("index", 0)) for one in item.candidates]
    if any(seed is None for seed, _ in noises):
        return identity(item.prompt, [one.image for one in item.candidates])
    return identity(item.prompt, sorted(set(noises)))


def _record(candidate: Candidate) -> dict[str, Any]:
    """What is known of how it was drawn, see `image_record`."""
    record = candidate.origin.get("record")
    return record if isinstance(record, dict) else {}


def _tied(judgement: Judgement) -> list[tuple[int, int]]:
    """Each two that are alike, both ways round."""
    return [(one, other) for group in judgement.ranking for one in group for other in group if one != other]


def _ranking(item: Item, judgement: Judgement) -> Iterator[Row]:
    ranks = {index: float(rank) for rank, group in enumerate(judgement.ranking, start=1) for index in group}
    if len(judgement.ranking) > 1:
        answers = [answer_of(item, index) for index in ranks]
        yield {"prompt": item.prompt, "answers": answers, "ranks": list(ranks.values())}


def _unpaired(item: Item, judgement: Judgement) -> Iterator[Row]:
    """The best is wanted and the worst is not; what lies between says neither. Where all are bad, none is wanted."""
    if judgement.outcome == "both_bad":
        told = dict.fromkeys(range(len(item.candidates)), False)
    else:
        told = dict.fromkeys(judgement.ranking[-1], False) | dict.fromkeys(judgement.ranking[0], True)
    if judgement.is_tie:
        return
    for index, label in sorted(told.items(), key=lambda answer: not answer[1]):
        yield {"prompt": item.prompt, "completion": answer_of(item, index), "label": label}


def answer_of(item: Item, index: int) -> Any:
    """As the prompt is written: text, or one message of the assistant."""
    text = item.candidates[index].text
    return text if isinstance(item.prompt, str) else [{"role": "assistant", "content": text}]

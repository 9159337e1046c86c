"""The demo set ships whole: sixty different questions, each answered twice by a real model."""

from pathlib import Path

from engine.contract.labels import Judgement
from engine.contract.labels_demo import ITEMS, create_demo
from engine.contract.labels_log import append_judgement, read_guideline, read_items, read_judgements, read_set


def test_the_demo_has_sixty_questions_with_two_different_answers_each(tmp_path: Path) -> None:
    labels = create_demo(tmp_path / "labels")
    items = read_items(labels)
    assert len({str(item.prompt) for item in items}) == len({item.id for item in items}) == 60
    assert all(len({candidate.text for candidate in item.candidates}) == 2 for item in items)
    assert read_set(labels).name == "demo"
    assert "both are bad" in read_guideline(labels)
    assert ITEMS.stat().st_size < 200_000


def test_every_answer_of_the_demo_tells_how_it_was_drawn(tmp_path: Path) -> None:
    for item in read_items(create_demo(tmp_path)):
        drawn = [candidate.origin["sampling"] for candidate in item.candidates]
        common = {"max_new_tokens": 80, "top_p": 0.95, "top_k": 0}
        assert drawn == [common | {"temperature": 0.5, "seed": 1}, common | {"temperature": 1.0, "seed": 2}]


def test_a_demo_that_was_judged_is_not_made_again(tmp_path: Path) -> None:
    labels = create_demo(tmp_path)
    append_judgement(labels.judgements, Judgement(id="1", item="demo-01", labeller="ada", outcome="skipped", time=1.0))
    assert len(read_judgements(create_demo(tmp_path)).lines) == 1

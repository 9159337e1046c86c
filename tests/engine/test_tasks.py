"""Tasks that make their own rows, and know which answers are right."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.settings import Source
from engine.data.sources import load_rows
from engine.data.tasks import SPLITS, Arithmetic, TaskError, find_task, right_answer

OPERATORS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


def parts_of(prompt: str) -> tuple[int, str, int]:
    """`47+38=` in its parts, read without the task's help."""
    operator = next(sign for sign in OPERATORS if sign in prompt)
    a, b = prompt.removesuffix("=").split(operator)
    return int(a), operator, int(b)


@given(st.integers(1, 9), st.booleans(), st.sampled_from(["+", "-", "*", "+-", "+-*"]), st.integers(0, 2**40))
def test_every_row_of_arithmetic_is_right(digits: int, backwards: bool, operations: str, seed: int) -> None:
    task = Arithmetic(digits=digits, reversed=backwards, operations=operations)
    for row in task.rows(20, seed):
        a, operator, b = parts_of(row["prompt"])
        value = OPERATORS[operator](a, b)
        assert operator in operations
        assert row["completion"] == row["answer"] == (str(value)[::-1] if backwards else str(value))
        assert value >= 0
        assert digits == 1 or {len(str(a)), len(str(b))} == {digits}  # the places line up


@given(st.integers(1, 9), st.booleans(), st.sampled_from(["+", "-", "*"]), st.integers(0, 2**40))
def test_a_rejected_sum_is_wrong_by_at_most_nine(digits: int, backwards: bool, operations: str, seed: int) -> None:
    task = Arithmetic(digits=digits, reversed=backwards, operations=operations)
    for row in task.rows(20, seed):
        assert row["chosen"] == row["completion"]
        assert task.score(row, row["rejected"]) == 0.0
        right, wrong = (int(row[side][::-1] if backwards else row[side]) for side in ("chosen", "rejected"))
        assert wrong >= 0
        assert 1 <= abs(wrong - right) <= 9


def test_arithmetic_of_one_digit_knows_zero() -> None:
    firsts = {parts_of(row["prompt"])[0] for row in Arithmetic(digits=1).rows(500, 0)}
    assert firsts == set(range(10))


def test_only_the_exact_answer_scores() -> None:
    task = Arithmetic(digits=2, reversed=True)
    row = {"prompt": "47+38=", "completion": "58", "answer": "58"}
    right, wrong = ["58", " 58", "58\n"], ["85", "5", "588", "058", "5 8", "58.", "", "47+38=58", "fifty-eight"]
    assert [task.score(row, text) for text in right] == [1.0] * 3
    assert [task.score(row, text) for text in wrong] == [0.0] * 9


def test_a_seed_makes_the_same_rows_and_another_seed_others() -> None:
    task = Arithmetic()
    assert task.rows(50, 7) == Arithmetic().rows(50, 7)
    assert task.rows(50, 7) != task.rows(50, 8)
    assert task.rows(20, 7) == task.rows(50, 7)[:20]  # asking for more changes none


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("operations", ["+", "-", "*", "+-*"])
def test_train_and_test_share_no_sum_in_either_order_whatever_their_seeds(digits: int, operations: str) -> None:
    task = Arithmetic(digits=digits, operations=operations)
    train, test = (
        {(operator, *sorted((a, b))) for row in rows for a, operator, b in [parts_of(row["prompt"])]}
        for rows in (task.rows(3000, 1) + task.rows(100, 2), task.rows(100, 1, "test") + task.rows(100, 3, "test"))
    )
    assert not train & test
    assert min(len(train), len(test)) > 3


def test_a_tenth_of_the_sums_is_for_testing() -> None:
    found = {row["prompt"] for row in Arithmetic().rows(2000, 0, "test")}
    assert len(found) == pytest.approx(0.1 * 90 * 90, rel=0.1)


def test_a_split_that_no_task_has_is_told() -> None:
    with pytest.raises(TaskError, match="has no split 'validation'; use train or test"):
        Arithmetic().rows(1, 0, "validation")
    with pytest.raises(TaskError, match="task:arithmetic: has no split 'dev'"):
        load_rows([Source(path="task:arithmetic", split="dev")])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"digits": 0}, r"digits should be 1 to 9 \(got 0\)"),
        ({"digits": 10}, r"digits should be 1 to 9 \(got 10\)"),
        ({"digits": "2"}, r"digits should be 1 to 9 \(got '2'\)"),
        ({"operations": "+/"}, r"operations should be made of \+ - \* \(got '\+/'\)"),
        ({"operations": ""}, r"operations should be made of"),
        ({"operations": 3}, r"operations should be made of"),
        ({"digts": 2}, "digts"),
    ],
)
def test_a_bad_option_is_named_with_its_task(options: dict[str, Any], told: str) -> None:
    with pytest.raises(TaskError, match=told) as error:
        find_task("task:arithmetic", options)
    assert str(error.value).startswith("task:arithmetic: ")


@pytest.mark.parametrize("path", ["task:", "task:arithmetics", "task:reasoning_gym"])
def test_an_unknown_task_tells_which_there_are(path: str) -> None:
    with pytest.raises(TaskError, match="there are task:arithmetic and task:reasoning_gym/<name>") as error:
        find_task(path, {})
    assert str(error.value).startswith(f"{path}: ")


# ------------------------------------------------------------------------------------------------ reasoning_gym


@pytest.mark.parametrize("name", ["basic_arithmetic", "chain_sum", "word_sorting", "countdown"])
def test_a_reasoning_task_gives_its_own_answers_full_marks(name: str) -> None:
    pytest.importorskip("reasoning_gym", reason="the extra `reasoning` is not installed")
    task = find_task(f"task:reasoning_gym/{name}", {})
    rows = task.rows(5, 3)
    assert [task.score(row, f" {row['completion']}\n") for row in rows] == [1.0] * 5
    assert all(task.score(row, "no idea") < 0.5 for row in rows)
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in task.rows(5, 3)]
    assert rows[0]["prompt"] == [{"role": "user", "content": rows[0]["entry"]["question"]}]


def test_train_and_test_of_a_reasoning_task_share_no_question() -> None:
    pytest.importorskip("reasoning_gym", reason="the extra `reasoning` is not installed")
    options = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    task = find_task("task:reasoning_gym/products", options)
    train, test = ({row["prompt"][0]["content"] for row in task.rows(200, 0, split)} for split in SPLITS)
    assert not train & test
    assert min(len(train), len(test)) > 3


def test_a_reasoning_task_with_too_few_questions_for_a_split_says_so() -> None:
    pytest.importorskip("reasoning_gym", reason="the extra `reasoning` is not installed")
    task = find_task("task:reasoning_gym/products", {})
    task._create = lambda *_, **__: [{"question": "1*1", "answer": "1"}] * 50  # type: ignore[attr-defined]
    with pytest.raises(TaskError, match="asks too few different questions for 5 rows of test"):
        task.rows(5, 0, "test")


@pytest.mark.parametrize(
    ("name", "options"),
    [("no_such_task", {}), ("basic_arithmetic", {"no_such_option": 1}), ("basic_arithmetic", {"min_digits": -1})],
)
def test_a_bad_reasoning_task_is_named(name: str, options: dict[str, Any]) -> None:
    pytest.importorskip("reasoning_gym", reason="the extra `reasoning` is not installed")
    with pytest.raises(TaskError) as error:
        find_task(f"task:reasoning_gym/{name}", options)
    assert str(error.value).startswith(f"task:reasoning_gym/{name}: reasoning_gym cannot make it: ")


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(TaskError, match=r"pip install \"plumbline-workbench\[reasoning\]\""):
        find_task("task:reasoning_gym/chain_sum", {})


def test_a_sum_written_backwards_says_so_where_a_person_reads_it() -> None:
    backwards, plain = (Arithmetic(digits=2, reversed=is_reversed).rows(1, seed=0)[0] for is_reversed in (True, False))
    assert right_answer(backwards) == f"{backwards['answer']} ({plain['answer']}, lowest digit first)"
    assert right_answer(plain) == plain["answer"]
    assert right_answer({"answer": 4}) == "4"
    assert right_answer({"prompt": "Why?"}) is None

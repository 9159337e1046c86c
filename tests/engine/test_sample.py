"""`sample` draws what training would draw, from any kind of model, and writes nothing where something is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from engine import __main__ as command_line
from engine.contract.online_settings import Rollout
from engine.contract.run_dir import RunDir
from engine.contract.settings import Model
from engine.data.batching import mix
from engine.data.chat import ChatEncoder
from engine.models import Policy, open_model
from engine.rollout.local import sample_answers
from engine.rollout.memory import batches
from engine.sampling import Pace
from tests.engine import running
from tests.tiny import CHATML, tiny_policy


def call(*words: object) -> int:
    """A command in this process. One thread: a second fights with whatever else this machine tests."""
    try:
        return command_line.main([str(word) for word in (*words, "--threads", 1)])
    except SystemExit as left:
        return int(left.code or 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, with a chat template."""
    folder = tmp_path_factory.mktemp("model")
    policy: Any = tiny_policy()
    policy.tokenizer.chat_template = CHATML
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, without a chat template."""
    folder = tmp_path_factory.mktemp("plain")
    policy: Any = tiny_policy()
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter_run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A finished run that trained an adapter on a model from scratch."""
    preset = running.sft(
        model={"adapter": running.LORA},
        data={"system_prompt": "Be brief."},
        optimizer={"learning_rate": 0.05},
        training={"steps": 2},
    )
    return running.done(tmp_path_factory.mktemp("runs") / "run", preset)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ------------------------------------------------------------------------------------------------ what is drawn


def test_the_answers_are_those_of_the_decoder_with_seeds_of_prompt_and_place(plain, capsys):
    words = ["sample", plain, "--prompt", "ab", "--prompt", "cdef", "--count", 3, "--max-new-tokens", 6, "--seed", 5]
    assert call(*words, "--temperature", 0.7, "--json") == 0
    policy = tiny_policy()
    expected = sample_answers(
        policy,
        [policy.tokenizer(text)["input_ids"] for text in ("ab", "cdef")],
        [[mix(5, prompt, member) for member in range(3)] for prompt in range(2)],
        Rollout(completions_per_prompt=3, max_new_tokens=6, temperature=0.7),
    )
    found = told(capsys)
    texts = [policy.tokenizer.decode(a.ids, skip_special_tokens=True) for group in expected for a in group]
    assert [line["completion"] for line in found] == texts
    assert [line["tokens"] for line in found] == [len(a.ids) for group in expected for a in group]
    logps = torch.tensor([sum(a.logps) for group in expected for a in group])
    assert torch.allclose(torch.tensor([line["logp"] for line in found]), logps, atol=1e-4)
    assert found[4]["sampling"] == {
        **{"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "stop": [], "max_new_tokens": 6},
        **{"greedy": False, "seed": 5, "system_prompt": None, "seed_of_answer": mix(5, 1, 1)},
    }


def test_how_many_are_written_at_once_changes_nothing(plain, capsys):
    words = ["sample", plain, "--prompt", "ab", "--prompt", "c", "--count", 5, "--max-new-tokens", 4, "--json"]
    found = []
    for size in (1, 2, 16):
        assert call(*words, "--batch-size", size) == 0
        found.append([(line["prompt_id"], line["member"], line["completion"]) for line in told(capsys)])
    assert found[0] == found[1] == found[2]
    assert [(prompt, member) for prompt, member, _ in found[0]] == [(p, m) for p in range(2) for m in range(5)]


@pytest.mark.parametrize(("prompts", "count", "size"), [(7, 1, 3), (5, 2, 4), (2, 9, 4), (1, 1, 1), (3, 4, 4)])
def test_batches_hold_every_answer_once_in_order_and_no_more_than_asked(prompts: int, count: int, size: int) -> None:
    cut = list(batches(prompts, count, size))
    assert [(p, m) for places, members in cut for p in places for m in members] == [
        (p, m) for p in range(prompts) for m in range(count)
    ]
    assert max(len(places) * len(members) for places, members in cut) <= size


def test_a_question_becomes_a_message_where_there_is_a_chat_template(model, plain, capsys):
    short = ["--greedy", "--max-new-tokens", 2, "--json", "--prompt", "hi"]
    for words, expected in (
        ([model], [{"role": "user", "content": "hi"}]),
        ([model, "--raw"], "hi"),
        ([plain], "hi"),
    ):
        assert call("sample", *words, *short) == 0
        assert told(capsys)[0]["prompt"] == expected


def test_rows_of_data_are_read_as_training_reads_them_and_samples_can_be_trained_on(model, tmp_path, capsys):
    rows = [
        {"prompt": "plain"},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "samples.jsonl"
    assert call("sample", model, "--prompts", data, "--greedy", "--max-new-tokens", 3, "--output", out) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["prompt"] for line in lines] == ["plain", [{"role": "user", "content": "q"}]]
    assert "2 answers are in" in capsys.readouterr().out
    trained = running.sft(data={"train": str(out), "max_length": 64}, training={"steps": 1, "batch_size": 2})
    running.done(tmp_path / "run", trained)


def test_of_a_run_with_an_adapter_the_adapter_answers_under_the_runs_system_prompt(adapter_run, capsys):
    words = ["--prompt", "12+34=", "--greedy", "--max-new-tokens", 4, "--json"]
    assert call("sample", adapter_run.path, *words) == 0
    [of_run] = told(capsys)
    assert of_run["sampling"]["system_prompt"] == "Be brief."
    assert call("sample", adapter_run.final, *words) == 0
    [of_final] = told(capsys)
    assert call("sample", adapter_run.checkpoint(2), *words) == 0
    [of_checkpoint] = told(capsys)
    assert of_run["logp"] == of_final["logp"] == of_checkpoint["logp"]
    base, tokenizer = open_model(scratch(), dtype=torch.float32, seed=0)
    policy = Policy(PeftModel.from_pretrained(base, str(adapter_run.final)), tokenizer, has_adapter=True)
    prompt = ChatEncoder(tokenizer, system_prompt="Be brief.").prompt({"prompt": "12+34="})
    how = Rollout(max_new_tokens=4)
    [[expected]] = sample_answers(policy, [prompt], [[0]], how, greedy=True)
    assert of_run["logp"] == pytest.approx(sum(expected.logps), abs=1e-4)
    with policy.without_adapter():
        [[bare]] = sample_answers(policy, [prompt], [[0]], how, greedy=True)
    assert of_run["logp"] != pytest.approx(sum(bare.logps), abs=1e-2)


def scratch() -> Model:
    return Model.model_validate({"path": "scratch", "scratch": running.SCRATCH})


def test_a_name_means_the_newest_run_of_it_in_the_workspace(adapter_run, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "20260101-000000-sums").symlink_to(adapter_run.path)
    words = ["--workspace", tmp_path, "--prompt", "1+1=", "--greedy", "--max-new-tokens", 2]
    assert call("sample", "run:sums", *words) == 0
    assert capsys.readouterr().out.startswith("> 1+1=\n")


def test_a_prompt_too_long_for_the_model_keeps_its_end_and_that_is_told(adapter_run, capsys):
    words = ["sample", adapter_run.path, "--prompt", "x" * 100, "--max-new-tokens", 4, "--json"]
    assert call(*words) == 0
    assert "1 of 1 prompts are too long for the model and keep only their end" in capsys.readouterr().err


def test_what_a_model_writes_moves_no_cursor(plain, tmp_path, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\x1b[2J\n\ntwo\n")
    assert call("sample", plain, "--prompts", prompts, "--max-new-tokens", 40, "--temperature", 3) == 0
    out = capsys.readouterr().out
    assert "> one [2J" in out
    assert "> two" in out
    assert all(character.isprintable() or character == "\n" for character in out)


def test_the_time_left_is_what_the_share_done_makes_of_the_time_spent(monkeypatch):
    monkeypatch.setattr("engine.sampling.time.monotonic", lambda: 30.0)
    pace = Pace(wanted=8, done=1, tokens=60, underway=1.0, started=10.0)
    assert (pace.share, pace.seconds_left, pace.tokens_per_second) == (0.25, 60.0, 3.0)


# ------------------------------------------------------------------------------------------------------ refusals


def test_a_run_without_a_model_and_a_model_that_is_not_there_are_told_at_once(tmp_path, capsys):
    run = running.new_run(tmp_path / "empty", running.sft())
    assert call("sample", run.path, "--prompt", "a") == 2
    assert "is a run without a model; let it save a checkpoint first" in capsys.readouterr().err
    assert call("sample", tmp_path / "none", "--prompt", "a") == 2
    assert "does not exist; check the path" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "no prompt in it"), (b"\n \n", "no prompt in it"), (b"caf\xe9\n", "is not UTF-8 text")],
    ids=["empty", "blank", "latin-1"],
)
def test_a_prompt_file_of_no_use_is_one_message_and_nothing_is_written(plain, tmp_path, capsys, content, problem):
    prompts = tmp_path / "prompts.txt"
    prompts.write_bytes(content)
    assert call("sample", plain, "--prompts", prompts, "--output", tmp_path / "out.jsonl") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert problem in err
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "out.jsonl").exists()


def test_no_prompt_an_empty_one_and_rows_without_one_are_refused(plain, tmp_path, capsys):
    assert call("sample", plain) == 2
    assert "there is no prompt; give --prompt TEXT or --prompts FILE" in capsys.readouterr().err
    assert call("sample", plain, "--prompt", "a", "--prompt", "") == 2
    assert "prompt 2 is empty" in capsys.readouterr().err
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    assert call("sample", plain, "--prompts", rows) == 2
    assert "has no `prompt`" in capsys.readouterr().err


def test_a_file_of_samples_is_never_written_over(plain, tmp_path, capsys):
    out = tmp_path / "samples.jsonl"
    out.write_text("mine")
    assert call("sample", plain, "--prompt", "a", "--output", out) == 2
    assert "is there already; name a new file" in capsys.readouterr().err
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "0"], "--temperature: should be more than 0 and at most 10 (got 0)"),
        (["--top-p", "1.5"], "--top-p: should be more than 0 and at most 1 (got 1.5)"),
        (["--count", "0"], "--count: should be at least 1 (got 0)"),
        (["--seed", str(2**32)], "--seed: should be at most 4294967295"),
        (["--device", "gpu"], "--device: is no device (got gpu)"),
        (["--max-new-tokens", "128"], "the model reads 128 tokens, prompt and answer together"),
        (["--system", "Be brief."], "the model has no chat template"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_setting_out_of_bounds_is_named(plain, capsys, words, message):
    assert call("sample", plain, "--prompt", "a", *words) == 2
    assert message in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- the best of several

SHORT = "[{kind: length, target: 1}]"
BOTH = "[{kind: pattern, pattern: '[ -~]*', weight: 2}, {kind: length, target: 1}]"


def test_the_best_of_several_is_the_one_that_its_reward_likes_best_of_what_would_be_written(plain, capsys):
    many = ("sample", plain, "--prompt", "a", "--prompt", "bb", "--max-new-tokens", 6, "--batch-size", 3, "--json")
    assert call(*many, "--count", 5) == 0
    every = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert call(*many, "--best-of", 5, "--reward", BOTH) == 0
    best = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["prompt"] for one in best] == ["a", "bb"]
    for one in best:
        group = [other for other in every if other["prompt_id"] == one["prompt_id"]]
        same = next(other for other in group if other["member"] == one["member"])
        assert one["completion"] == same["completion"]
        texts = [other["completion"].strip() for other in group]
        worth = [2.0 * (text.isascii() and text.isprintable()) for text in texts]
        worth = [w + min(1, max(0, 2 - other["tokens"])) for w, other in zip(worth, group, strict=True)]
        assert one["reward"] == max(worth)
        assert one["mean_reward"] == pytest.approx(sum(worth) / 5)
        assert set(one["rewards"]) == {"pattern", "length"}


def test_the_best_of_several_is_told_beside_the_mean_of_all(plain, capsys):
    words = ("--prompt", "a", "--max-new-tokens", 6, "--best-of", 3, "--reward", SHORT)
    assert call("sample", plain, *words) == 0
    assert "the best of 3 whose mean is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--best-of", 4), "nothing says which answer is best"),
        (("--reward", SHORT), "--best-of is missing"),
        (("--best-of", 4, "--reward", SHORT, "--greedy"), "--greedy stands beside --best-of"),
        (("--best-of", 4, "--reward", "[{kind: nonsense}]"), "is not a kind there is"),
        (("--best-of", 4, "--reward", "[{kind: model, path: 'run:nobody'}]"), "is not a run that has a model"),
        (("--best-of", 4, "--reward", "[{kind: function, path: x.py}]"), "does not exist"),
    ],
)
def test_a_best_that_cannot_be_told_is_refused_before_a_model_is_read(tmp_path, plain, capsys, words, problem):
    assert call("sample", plain, "--prompt", "a", "--workspace", tmp_path, *words) == 2
    assert problem in capsys.readouterr().err

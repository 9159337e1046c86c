"""What a run of any method leaves opens as its card says, with transformers and peft alone, and gives the numbers that
the trainer had."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from engine import __main__ as command_line
from engine.assembly import Parts
from engine.checkpoint import save_model
from engine.contract.preset import Preset
from engine.contract.run_dir import RunDir
from engine.contract.settings import Model
from engine.data.byte_tokenizer import byte_tokenizer
from engine.methods import METHODS
from engine.models import open_for_use
from engine.reporting import Reporter
from tests.engine import running
from tests.engine.test_rankings import bert_tokenizer
from tests.engine.test_reward_models import end_pads_tokenizer, saved
from tests.tiny import FAMILIES, random_ids, rows_of, tiny_model, tiny_reward_model, whole_logps

PROMPT, ANSWER = random_ids(9, seed=1, vocabulary=200), random_ids(6, seed=2, vocabulary=200)
ROWS = rows_of([(PROMPT, ANSWER)])


def preset_of(method: str, **sections: Any) -> Preset:
    """One step that is large enough to be seen in the numbers."""
    sections["training"] = {"steps": 1, "checkpoint_every": 0}
    sections["optimizer"] = {"learning_rate": 0.05, "schedule": "constant"}
    make = getattr(running, method, None)
    return running.preferring(method, **sections) if make is None else make(**sections)


def trained(folder: Path, preset: Preset) -> tuple[RunDir, Tensor]:
    """A run, and what its model made of ROWS in the trainer's hands, just before it was saved."""
    numbers: list[Tensor] = []
    save = Parts.finish

    def note_and_save(self: Parts, reporter: Reporter, *rest: Any) -> None:
        with torch.no_grad():
            numbers.append(self.bench.bare_scorer(ROWS)[0].clone())
        save(self, reporter, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parts, "finish", note_and_save)
        run = running.done(folder, preset)
    return run, numbers[0]


def as_the_card_says(folder: Path) -> Any:
    """The model that the Python in the folder's README.md opens."""
    [code, *_] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("this folder", str(folder)), names)  # noqa: S102 - that it runs is what is tested
    return names["model"].eval()


def answer_by(model: nn.Module) -> Tensor:
    """The answer's log-probabilities, (6,), by the whole model of transformers."""
    with torch.no_grad():
        return whole_logps(model, PROMPT, ANSWER)


def score_by(model: nn.Module, **more: Tensor) -> Tensor:
    """The score of the text, (1,), by the whole model of transformers."""
    with torch.no_grad():
        logits: Tensor = model(input_ids=ROWS.input_ids, **more).logits[:, 0]
    return logits


@pytest.mark.parametrize("adapter", [None, running.LORA], ids=["all weights", "adapter"])
@pytest.mark.parametrize("method", METHODS)
def test_final_opens_as_its_card_says_and_gives_the_trainers_numbers(
    tmp_path: Path, method: str, adapter: dict[str, Any] | None
) -> None:
    run, numbers = trained(
        tmp_path / "run", preset_of(method, model={"adapter": adapter}, **running.on_disk(method, tmp_path))
    )
    assert running.values_of(run, "grad_norm")[0] > 0
    found = score_by if method == "reward_model" else answer_by
    assert found(as_the_card_says(run.final)).tolist() == pytest.approx(numbers.tolist(), abs=2e-5)


@pytest.mark.parametrize("form", ["full", "adapter", "merged"])
@pytest.mark.parametrize("family", ["llama", "bert"])
def test_an_exported_reward_model_opens_as_its_card_says_with_the_same_scores(
    tmp_path: Path, family: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the end token padded before training: transformers would then score another token than was trained."""
    encodes = family == "bert"
    start = tiny_reward_model("bert") if encodes else tiny_model(vocab_size=300)
    path = saved(tmp_path / "model", start, bert_tokenizer() if encodes else end_pads_tokenizer())
    adapter = None if form == "full" else running.LORA
    preset = preset_of("reward_model", model={"path": str(path), "scratch": None, "adapter": adapter})
    run, numbers = trained(tmp_path / "run", preset)
    out = tmp_path / "out"
    assert command_line.main(["export", str(run.path), str(out), "--format", form, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == form
    segments = {"token_type_ids": ROWS.is_target.long()} if encodes else {}
    model = as_the_card_says(out)
    assert score_by(model, **segments).tolist() == pytest.approx(numbers.tolist(), abs=2e-5)
    assert "# run, a reward model" in (out / "README.md").read_text("utf-8")
    # In a padded batch, as people score; and with what brings scores to one scale.
    tokenizer = AutoTokenizer.from_pretrained(out)
    texts = ["a", "a much longer text"]
    if not encodes:
        texts = [text + tokenizer.eos_token for text in texts]
    with torch.no_grad():
        together = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0].tolist()
        alone = [model(**tokenizer(text, return_tensors="pt")).logits[0, 0].item() for text in texts]
    assert together == pytest.approx(alone, abs=2e-5)
    assert json.loads((out / "config.json").read_text("utf-8"))["reward_std"] > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_from_scratch_of_any_family_opens_with_the_tokens_it_was_trained_on(
    tmp_path: Path, family: str
) -> None:
    """AutoTokenizer would put a token of Qwen2's own to those beside a model of that family."""
    save_model(tiny_model(family), byte_tokenizer(), tmp_path / "model")
    policy = open_for_use(Model(path=str(tmp_path / "model")), device=torch.device("cpu"), dtype=torch.float32)
    assert policy.tokenizer.get_vocab() == byte_tokenizer().get_vocab()
    assert policy.tokenizer("1+1=")["input_ids"] == byte_tokenizer()("1+1=")["input_ids"]

"""One step of TRL 1.12's PPOTrainer on answers that are given, in a process of its own: `python trl_ppo.py FOLDER…`.

A folder has the models policy, old, reference, critic and scorer, and case.json: prompts, answers and settings; and
where the policy has an adapter, how it is made and its weights. What the trainer found is left there: found.json has
its metrics and advantages, gradients.safetensors the gradients of each update.
"""

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer  # type: ignore[import-not-found]

PAD = 0
WHITEN = ppo_trainer.masked_whiten


def main(folder: Path) -> None:
    case = json.loads((folder / "case.json").read_text("utf-8"))
    answers = {tuple(prompt): answer for prompt, answer in zip(case["prompts"], case["answers"], strict=True)}
    trainer = trainer_of(folder, case)
    old = AutoModelForCausalLM.from_pretrained(str(folder / "old")).eval()
    order: list[int] = []
    whitened: list[tuple[Tensor, Tensor]] = []
    gradients: dict[str, Tensor] = {}

    def given(model: Any, queries: Tensor, size: int, pad: int, config: Any) -> tuple[Tensor, Tensor]:
        prompts = [tuple(token for token in row if token != PAD) for row in queries.tolist()]
        order.extend(case["prompts"].index(list(prompt)) for prompt in prompts)
        length = case["settings"]["response_length"]
        rows = [answers[prompt] + [PAD] * (length - len(answers[prompt])) for prompt in prompts]
        whole = torch.cat([queries, torch.tensor(rows)], dim=1)
        logits = ppo_trainer.forward(old, whole, PAD).logits[:, queries.shape[1] - 1 : -1]
        return whole, logits / (case["settings"]["temperature"] + 1e-7)

    def spied(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
        found: Tensor = WHITEN(values, mask, shift_mean)
        if shift_mean:
            whitened.append((values, found))
        return found

    updates, learn = itertools.count(), trainer.optimizer.step

    def keep_gradients() -> None:
        update = next(updates)
        for part, model in (("policy", trainer.model.policy), ("critic", trainer.model.value_model)):
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    gradients[f"{update}.{part}.{name}"] = parameter.grad.clone()
        learn()

    ppo_trainer.batch_generation, ppo_trainer.masked_whiten = given, spied
    told: dict[str, float] = {}
    trainer.log = told.update
    trainer.optimizer.step = keep_gradients
    trainer.train()
    plain, white = whitened[0]
    found = {"metrics": told, "order": order, "advantages": plain.tolist(), "whitened": white.tolist()}
    (folder / "found.json").write_text(json.dumps(found), "utf-8")
    save_file(gradients, str(folder / "gradients.safetensors"))


def trainer_of(folder: Path, case: dict[str, Any]) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "policy"), padding_side="left")
    rows = Dataset.from_list([{"input_ids": prompt} for prompt in case["prompts"]])
    config = PPOConfig(
        output_dir=str(folder / "out"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        num_sample_generations=0,
        per_device_train_batch_size=len(rows),
        total_episodes=len(rows),
        stop_token="eos",  # noqa: S106 - a token of text
        **case["settings"],
    )
    causal, scoring = AutoModelForCausalLM, AutoModelForSequenceClassification
    trainer = PPOTrainer(
        config,
        tokenizer,
        causal.from_pretrained(str(folder / "policy")),
        causal.from_pretrained(str(folder / "reference")),
        scoring.from_pretrained(str(folder / "scorer")),
        rows,
        scoring.from_pretrained(str(folder / "critic")),
        eval_dataset=rows,
        peft_config=LoraConfig(**case["adapter"]) if case["adapter"] else None,
    )
    if case["adapter"]:
        told = trainer.model.policy.load_state_dict(load_file(str(folder / "adapter.safetensors")), strict=False)
        assert not told.unexpected_keys
    return trainer


if __name__ == "__main__":
    for named in sys.argv[1:]:
        main(Path(named))

"""What the model writes now: answers to held-out prompts, kept to be read, and scored where a verifier knows them."""

from typing import Any

from engine.contract.online_settings import Rollout as RolloutSettings
from engine.contract.rollouts import Completion
from engine.data.batching import mix
from engine.data.sources import TASK, Row, Table
from engine.methods.bench import Bench


def write_samples(preset: Any, bench: Bench, step: int) -> dict[str, float]:
    """Answers to held-out prompts, or to the first ones of the training data, by the method's own section.

    Returns the share of answers that a verifier accepts, where there is one. Leaves the model as it was, in its mode.
    """
    own = getattr(preset, preset.method)
    table = bench.held_out or bench.train
    rows = [row for row in table.rows[: own.samples] if row.get("prompt") or row.get("messages")]
    if not rows or not bench.accelerator.is_main_process:
        return {}
    longest = bench.policy.context or preset.data.max_length + own.sample_tokens
    # A model that reads little still needs to see a question.
    how = RolloutSettings(max_new_tokens=min(own.sample_tokens, longest // 2), completions_per_prompt=1)
    prompts = [bench.shortened(bench.encoder.prompt(row), answer=how.max_new_tokens, longest=longest) for row in rows]
    seeds = [[mix(preset.seed, step, index)] for index in range(len(rows))]
    answers = bench.rollout.answers(prompts, seeds, how)
    texts = [bench.encoder.decode(group[0].ids) for group in answers]
    scores = [_verified(table, row, text) for row, text in zip(rows, texts, strict=True)]
    decode = bench.policy.tokenizer.decode
    written = [
        Completion(
            step=step,
            prompt=decode(prompt),
            completion=text,
            prompt_id=index,
            reward=score,
            finish=group[0].finish,
            token_ids=group[0].ids,
            tokens=[decode([token]) for token in group[0].ids],
            logps=group[0].logps,
        )
        for index, (prompt, group, text, score) in enumerate(zip(prompts, answers, texts, scores, strict=True))
    ]
    bench.reporter.completions(step, written)
    known = [score for score in scores if score is not None]
    return {"sampled_accuracy": sum(known) / len(known)} if known else {}


def _verified(table: Table, row: Row, text: str) -> float | None:
    task = table.tasks.get(row.get(TASK, ""))
    return None if task is None else task.score(row, text)

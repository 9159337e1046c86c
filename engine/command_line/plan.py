"""What `check` says of a preset without a fault: what will be trained, on what, for how long, and what it writes."""

from typing import Any

from engine.contract.image_presets import ImagePreset
from engine.contract.preset import model_of, training_of
from engine.starting import estimates, preflight
from engine.starting.launch import Prepared


def as_lines(prepared: Prepared) -> list[str]:
    """The plan for a person."""
    preset, survey = prepared.preset, prepared.survey
    if isinstance(preset, ImagePreset):
        return _lines_of_images(prepared, preset)
    adapter = preset.model.adapter
    weights = "all weights" if adapter is None else adapter.described
    size = "" if survey.parameters is None else f", {estimates.count(survey.parameters)} parameters"
    training = preset.training
    lines = [
        f"method      {preset.method}, run name {prepared.name}",
        f"model       {preset.model.path}{size}; trains {weights} on {_device(preset.model.device)}",
        *(f"data        {_counted(counted)}" for counted in survey.train),
        *(f"held out    {_counted(counted)}" for counted in survey.held_out),
        *(f"left out    {counted.left_out}" for counted in [*survey.train, *survey.held_out] if counted.left_out),
        f"training    {training.steps} steps of {training.batch_size}{_epochs(prepared)}",
        f"writes      {_where(prepared)}, up to {estimates.megabytes(survey.writes)}",
    ]
    if training.processes > 1:
        lines.insert(-1, f"processes   {training.processes}")
    return lines


def _lines_of_images(prepared: Prepared, preset: ImagePreset) -> list[str]:
    survey, model, training = prepared.survey, model_of(preset), training_of(preset)
    size = "" if survey.parameters is None else f", {estimates.count(survey.parameters)} parameters"
    lines = [f"method      {preset.method}, run name {prepared.name}"]
    if model is not None:
        lines.append(f"model       {model.path}{size}; on {_device(model.device)}")
    lines += [f"data        {counted.source.path}" for counted in survey.train]
    lines += [f"held out    {counted.source.path}" for counted in survey.held_out]
    if training is not None:
        lines.append(f"training    {training.steps} steps of {training.batch_size}")
    return [*lines, f"writes      {_where(prepared)}, up to {estimates.megabytes(survey.writes)}"]


def as_json(prepared: Prepared) -> dict[str, Any]:
    """The plan for a script, with the whole preset as it would be frozen."""
    survey, training = prepared.survey, training_of(prepared.preset)
    return {
        "name": prepared.name,
        "method": prepared.preset.method,
        "parameters": survey.parameters,
        "train": [_source_as_json(counted) for counted in survey.train],
        "eval": [_source_as_json(counted) for counted in survey.held_out],
        **({} if training is None else {"steps": training.steps, "batch_size": training.batch_size}),
        "writes_to": _where(prepared),
        "writes_bytes": survey.writes,
        "preset": prepared.preset.model_dump(mode="json"),
    }


def _where(prepared: Prepared) -> str:
    return str(prepared.at or prepared.runs / f"<time>-{prepared.name}")


def _device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if preflight.runs_on_gpu(device) else "mps" if estimates.has_apple_gpu() else "the CPU"


def _counted(counted: preflight.Counted) -> str:
    if counted.rows is None:
        return f"{counted.source.path}, rows not counted"
    return f"{counted.source.path}, {'' if counted.is_exact else 'about '}{counted.rows:,} rows"


def _epochs(prepared: Prepared) -> str:
    """How often each row is seen, where all rows were counted: those held out are not, and weights give each source
    its own pace."""
    preset, train = prepared.preset, prepared.survey.train
    assert not isinstance(preset, ImagePreset)  # noqa: S101 - those have lines of their own
    counts = [counted.rows for counted in train]
    if not counts or any(count is None for count in counts):
        return ""
    kept = [(count or 0) * (1 - preset.data.eval_share) for count in counts]
    weights = [float(getattr(counted.source, "weight", None) or 0) for counted in train]
    taken = preset.training.steps * preset.training.batch_size
    if not any(weights):
        return f", {taken / max(1.0, sum(kept)):.2g} times through the data"
    passes = [taken * w / sum(weights) / max(1.0, count) for w, count in zip(weights, kept, strict=True)]
    return f", {' and '.join(f'{each:.2g}' for each in passes)} times through the sources"


def _source_as_json(counted: preflight.Counted) -> dict[str, Any]:
    told = {"rows": counted.rows, "is_exact": counted.is_exact, "left_out": counted.left_out}
    return {"path": counted.source.path, **told}

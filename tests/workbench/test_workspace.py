"""A workspace's own paths, as a person writes them."""

from pathlib import Path

from workbench.io.workspace import Workspace, own_presets

SHIPPED = own_presets().parent / "assets" / "diffusion" / "digits-denoiser"


def test_paths_that_ship_or_lie_in_the_workspace_are_told_as_a_person_writes_them(tmp_path: Path) -> None:
    (tmp_path / "named").symlink_to(tmp_path)
    workspace = Workspace(tmp_path / "named")
    runs = tmp_path / "runs" / "1-a"
    given = {"artists": [{"model": str(SHIPPED), "seed": 3}, {"model": str(runs)}], "prompts": "/elsewhere/p.jsonl"}
    written = {"artists": [{"model": "assets:digits-denoiser", "seed": 3}, {"model": "runs/1-a"}]}
    assert workspace.as_written(given) == written | {"prompts": "/elsewhere/p.jsonl"}
    assert [workspace.as_written(text) for text in ("org/model", str(tmp_path), "")] == ["org/model", str(tmp_path), ""]


def test_the_text_of_a_preset_keeps_all_but_such_paths(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    text = "\n".join([
        f"# from {tmp_path}/runs/1-a",
        f"model: {{path: {SHIPPED}, vae: null}}",
        "data:",
        f"  train: ['{tmp_path}/own data.jsonl', {tmp_path}x/b.jsonl]",
        f"  eval: {tmp_path}/runs/1-a  # held out",
    ])  # fmt: skip
    assert workspace.text_as_written(text).splitlines() == [
        f"# from {tmp_path}/runs/1-a",
        "model: {path: assets:digits-denoiser, vae: null}",
        "data:",
        f"  train: ['own data.jsonl', {tmp_path}x/b.jsonl]",
        "  eval: runs/1-a  # held out",
    ]

"""The rules of the house that import contracts and linters cannot hold; README.md tells them in words."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from engine.contract.preset import load_preset

ROOT = Path(__file__).parents[2]
MODULES = sorted(path.relative_to(ROOT) for part in ("engine", "workbench") for path in (ROOT / part).rglob("*.py"))
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
TRAINING_LIBRARIES = {"torch", "transformers", "datasets", "peft", "accelerate", "diffusers"}
RICH_TEXT = {
    "setHtml",
    "insertHtml",
    "appendHtml",
    "setMarkdown",
    "insertMarkdown",
    "RichText",
    "MarkdownText",
}
#: Where a machine shows through: folders of its own, hosts and options of its package registries.
OF_ONE_MACHINE = re.compile(
    r"(?<![\w.])/(?:work|farm|root|tmp/pl)/|(?:index|wheel)-url|find[-]links|pypi\.org|pythonhosted\.org|debian\.org"
)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"))


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------------------------------------------- sizes


def test_a_module_is_one_idea() -> None:
    lines = {str(path): len((ROOT / path).read_text("utf-8").splitlines()) for path in MODULES}
    assert len(lines) > 100
    assert {path: count for path, count in lines.items() if count > LONGEST_MODULE} == {}


def test_a_function_fits_a_screen() -> None:
    too_long = [
        f"{path}: {node.name}"
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if len(range(node.lineno, (node.end_lineno or node.lineno) + 1)) > LONGEST_FUNCTION
    ]
    assert too_long == []


def test_a_module_says_what_it_is_for() -> None:
    silent = [str(path) for path in MODULES if tree_of(path).body and not ast.get_docstring(tree_of(path))]
    assert silent == []


@pytest.mark.parametrize("package", ["engine", "workbench"])
def test_a_top_package_is_empty_so_its_parts_load_alone(package: str) -> None:
    assert (ROOT / package / "__init__.py").read_bytes() == b""


# -------------------------------------------------------------------------------------------------- classes


def is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] in {"engine", "workbench"}


def names_of_ours(tree: ast.Module) -> set[str]:
    """Names that stand for something of ours in this module: its own classes, and what it imports from us."""
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and is_ours(node.module):
            names |= {alias.asname or alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            names |= {a.asname or a.name.partition(".")[0] for a in node.names if is_ours(a.name)}
    return names


def inherited_from_us(tree: ast.Module) -> Iterator[str]:
    """`Child(Parent)` wherever the parent is ours. An error may refine another: `except` needs the family."""
    ours = names_of_ours(tree)
    for child in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for parent in map(ast.unparse, child.bases):
            if re.split(r"\W", parent)[0] in ours and not parent.endswith(("Error", "Exception")):
                yield f"{child.name}({parent})"


def test_inheritance_is_one_deep_and_from_a_framework() -> None:
    assert [f"{path}: {child}" for path in MODULES for child in inherited_from_us(tree_of(path))] == []


@pytest.mark.parametrize(
    "code",
    [
        "class A: ...\nclass B(A): ...",
        "from workbench.views.plotting import Curve\nclass B(Curve): ...",
        "from engine.contract import events\nclass B(events.Step): ...",
        "import engine.loop\nclass B(engine.loop.A[int]): ...",
    ],
)
def test_a_child_of_a_class_of_ours_is_noticed(code: str) -> None:
    assert len(list(inherited_from_us(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "from torch import nn\nclass A(nn.Module): ...",
        "class OurError(ValueError): ...\nclass B(OurError): ...",
    ],
)
def test_a_child_of_a_framework_and_a_family_of_errors_are_let_be(code: str) -> None:
    assert list(inherited_from_us(ast.parse(code))) == []


# ------------------------------------------------------------------------------ who may import whom


def test_the_import_contracts_are_kept() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_loads_without_torch_or_numpy() -> None:
    modules = [".".join(path.with_suffix("").parts) for path in MODULES if path.is_relative_to("engine/contract")]
    loaded = run_python(f"import sys, {', '.join(m.removesuffix('.__init__') for m in modules)}; print(*sys.modules)")
    assert "engine.contract.preset" in loaded.split()
    assert set(loaded.split()) & (TRAINING_LIBRARIES | {"numpy", "PySide6"}) == set()


def test_the_window_loads_without_anything_that_trains_or_is_slow() -> None:
    loaded = set(run_python("import sys, workbench.__main__; print(*sys.modules)").split())
    assert loaded & (TRAINING_LIBRARIES | {"pandas", "scipy", "matplotlib", "sympy", "OpenGL"}) == set()


# ------------------------------------------------------------------------------------------ text, and PySide6


def test_no_text_is_shown_as_rich_text() -> None:
    """What a model writes is hostile: a rich text label would open the files and addresses it names."""
    shown = [
        f"{path}: {node.attr}"
        for path in MODULES
        if path.is_relative_to("workbench")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in RICH_TEXT
    ]
    assert shown == []


def test_nothing_in_the_tree_names_one_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    texts = {file: file.read_bytes().decode("utf-8", "replace") for file in files if file.suffix != ".png"}
    assert len(texts) > 10
    assert [str(file) for file, text in texts.items() if OF_ONE_MACHINE.search(text)] == []


@pytest.mark.usefixtures("qapp")
def test_a_void_call_into_qt_does_not_cost_a_reference_to_none() -> None:
    """PySide6 6.12.0 lost one at each, on Python 3.10 and 3.11, and aborted after seconds of plotting."""
    from PySide6.QtWidgets import QLabel

    label = QLabel()
    before = sys.getrefcount(None)
    for _ in range(1000):
        label.setText("1")
    assert sys.getrefcount(None) > before - 100


# -------------------------------------------------------------------------------------------------- presets


#: They go by the names of their papers; what they are is choices of `grpo`.
RELATIVES_OF_GRPO = {"dapo", "dr_grpo", "gspo", "reinforce_pp", "rloo", "sapo", "scalerl", "vespo"}


def test_presets_ship_with_the_workbench() -> None:
    assert {"tour_sft.yaml", "tour_grpo.yaml"} <= {path.name for path in PRESETS}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_every_preset_loads(path: Path) -> None:
    method = load_preset(path).method
    assert method in path.stem or (method == "grpo" and path.stem.removesuffix("_tiny") in RELATIVES_OF_GRPO)

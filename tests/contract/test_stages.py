"""dvc.yaml and src/reforge/stages say the same, and the declared code is the code that a stage imports."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
from pathlib import Path

import pytest

from reforge.config import KINDS, instances
from reforge.config.load import load_config
from reforge.lineage import graph

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
STAGES = sorted(path.stem for path in (SOURCE / "reforge" / "stages").glob("[!_]*.py"))
# The frame around every stage: it decides how a stage is run and told of, not what comes out.
FRAME = ("cli", "config", "errors", "lineage", "machine", "records", "tracking")
FRAME_FILES = {f"src/reforge/{name}" for name in FRAME} | {f"src/reforge/{name}.py" for name in FRAME}
FRAME_FILES |= {
    f"src/reforge/frame/{name}.py" for name in ("context", "disk", "launch", "place", "run", "runs", "values")
}


def test_every_stage_has_a_module_with_run_and_every_module_a_stage(repository: Path) -> None:
    in_graph = {name.partition("@")[0] for name in graph.graph()}
    assert in_graph == set(STAGES) == {*KINDS, "report"}
    for name in STAGES:
        run = importlib.import_module(f"reforge.stages.{name}").run
        assert list(inspect.signature(run).parameters) == ["ctx"]


def test_every_command_runs_its_own_stage(repository: Path) -> None:
    for name, spec in graph.stages().items():
        assert spec.cmd == f"reforge stage {name}"


def test_every_entry_of_a_table_is_a_stage_that_takes_what_it_names(repository: Path) -> None:
    """Each depends on the folders of its slots, on the values of its own entry and on those of no other."""
    specs, entries = graph.stages(), instances(load_config(Path("params.yaml")))
    assert set(specs) == {name.replace("/", "@") for name in entries} | {"report"}
    for name, entry in entries.items():
        spec = specs[name.replace("/", "@")]
        assert {slot.path(getattr(entry, field)) for field, slot in entry.slots().items()} <= set(spec.deps), name
        assert [key for key in spec.params if key.partition(".")[0] in KINDS] == [name.replace("/", ".")]
        assert (spec.out, spec.metrics) == (f"outputs/{name}", f"metrics/{name}.json")


def test_what_an_unused_slot_names_is_committed(repository: Path) -> None:
    taken = {dep for spec in graph.stages().values() for dep in spec.deps if dep.startswith("outputs/none/")}
    tracked = subprocess.run(["git", "ls-files", "outputs"], capture_output=True, text=True, check=True).stdout.split()
    assert taken == {"outputs/none/data"}
    assert tracked == ["outputs/none/data/README", "outputs/none/model/README"]


def test_no_output_lies_in_another(repository: Path) -> None:
    outs = [Path(spec.out) for spec in graph.stages().values()]
    assert not [(a, b) for a in outs for b in outs if a != b and a in b.parents]


def test_every_output_goes_into_the_cache_and_so_to_other_clones(repository: Path) -> None:
    """One that is neither cached nor committed, as a file of metrics may be, makes its stage stale in each of them."""
    assert "cache: false" not in Path("dvc.yaml").read_text().lower()


def imported(module: str, seen: dict[str, Path]) -> dict[str, Path]:
    """All modules of reforge that importing `module` may bring in, by file; imports inside functions included."""
    path = SOURCE / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if module in seen or not file.is_file():
        return seen
    seen[module] = file.relative_to(ROOT)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("reforge"):
            for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]:
                if not _in_frame(name):
                    imported(name, seen)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("reforge.") and not _in_frame(alias.name):
                    imported(alias.name, seen)
    return seen


def _in_frame(module: str) -> bool:
    path = "src/" + module.replace(".", "/")
    return any(f"{path}.py".startswith(entry) or path == entry for entry in FRAME_FILES) or module == "reforge"


def undeclared(stage: str, deps: tuple[str, ...]) -> set[str]:
    files = imported(f"reforge.stages.{stage.partition('@')[0]}", {}).values()
    return {
        str(f) for f in files if f.stat().st_size and not any(str(f) == d or str(f).startswith(f"{d}/") for d in deps)
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_code_that_it_imports(repository: Path, stage: str) -> None:
    """Else a change of that code would leave its output as it is, under a green status."""
    for name, spec in graph.stages().items():
        if name.partition("@")[0] == stage:
            assert undeclared(name, spec.deps) == set()


def test_the_check_of_declared_code_can_fail(repository: Path) -> None:
    spec = graph.stage_spec("curate@problems")
    without = tuple(dep for dep in spec.deps if dep != "src/reforge/problems")
    assert any(file.startswith("src/reforge/problems/") for file in undeclared("curate@problems", without))


def test_every_stage_depends_on_the_locked_packages_and_on_what_seeds_it(repository: Path) -> None:
    """The frame seeds a stage and chooses its kernels: that decides what comes out. (The report draws nothing.)"""
    assert all("requirements/cpu.lock" in spec.deps for spec in graph.stages().values())
    drawn = {name for name, spec in graph.stages().items() if "src/reforge/frame/determinism.py" in spec.deps}
    assert drawn == set(graph.stages()) - {"report"}

"""The command line: what goes wrong is one paragraph and a code; help is quick because nothing heavy is imported."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from reforge.errors import disk_failure


def reforge(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reforge.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def test_compose_writes_params(project: Path) -> None:
    done = reforge("compose", "experiment=smoke", "seed=5")
    assert (done.returncode, done.stdout) == (0, "params.yaml: experiment smoke, seed 5\n")
    assert yaml.safe_load(Path("params.yaml").read_text())["seed"] == 5


def test_compose_says_what_no_stage_makes_any_more(project: Path) -> None:
    """The planted output is in no cache, so it is moved aside and not removed."""
    Path("outputs/rl/old").mkdir(parents=True)
    Path("outputs/rl/old/note").write_text("of a stage that was renamed")
    done = reforge("compose", "experiment=smoke")
    assert done.returncode == 0, done.stderr
    said = "outputs/rl/old belongs to no stage now and is not in DVC's cache: moved to .runs/aside/outputs/rl/old."
    assert done.stdout.splitlines() == [said, "params.yaml: experiment smoke, seed 0"]
    assert Path(".runs/aside/outputs/rl/old/note").read_text() == "of a stage that was renamed"
    assert not Path("outputs/rl/old").exists()


def test_before_anything_was_curated_the_fate_of_a_problem_is_not_known(project: Path) -> None:
    assert "No problems have been curated here. Start with: dvc repro curate" in reforge("problems", "why", "a").stderr


def test_compose_works_from_a_folder_below(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("lib")
    assert reforge("compose", "seed=6").returncode == 0
    assert yaml.safe_load((project / "params.yaml").read_text())["seed"] == 6


@pytest.mark.parametrize(
    "words",
    [
        ["compose", "rl.short.lerning_rate=1"],
        ["stage", "curat"],
        ["table"],
        ["why", "nothing"],
        ["problems", "why", "mbpp/1"],
    ],
)
def test_an_error_of_the_user_is_one_paragraph(project: Path, words: list[str]) -> None:
    before = Path("params.yaml").read_bytes()
    done = reforge(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("reforge: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "content", "words", "says"),
    [
        ("params.yaml", b"a: [", ["sync"], "params.yaml is not the YAML that was written ("),
        ("params.yaml", b"\xff\xfe\xc1", ["sync"], "params.yaml is not the YAML that was written ("),
        ("params.yaml", b"", ["sync"], "params.yaml: a section is needed here, with experiment, seed"),
        ("params.yaml", b"a: [", ["verify", "curate@problems"], "params.yaml is not what was written: write it again"),
        ("dvc.lock", b"a: [", ["why", "curate@problems"], "dvc.lock is not what was written: delete it"),
        ("dvc.lock", b"\xff\xfe\xc1", ["why", "curate@problems"], "dvc.lock is not what was written: delete it"),
        (
            "dvc.yaml",
            b"a: [",
            ["stage", "curate@problems"],
            "dvc.yaml is not what was written: bring the committed one back",
        ),
        ("report/table.md", b"\xff\xfe\xc1", ["table"], "table.md is not text any more"),
    ],
)
def test_a_broken_file_is_named_with_what_to_do(
    project: Path, file: str, content: bytes, words: list[str], says: str
) -> None:
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_bytes(content)
    done = reforge(*words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert says in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stage", "curate@problems", "--node", "3"], "--node 3: curate@problems runs on 1 of learner.nodes"),
        (["replay", "rl@short", "--steps", "5:3"], "--steps 5:3: two numbers from 1 with a colon are meant"),
        (["replay", "rl@short", "--steps", "-3"], "--steps -3: two numbers from 1 with a colon are meant"),
        (["replay", "rl@short", "--steps", "1:2:3"], "--steps 1:2:3: two numbers from 1 with a colon are meant"),
        (["ui", "--port", "99999"], "--port"),
        (["ui", "--port", "-1"], "--port"),
    ],
)
def test_numbers_out_of_range_are_refused(project: Path, words: list[str], says: str) -> None:
    done = reforge(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_may_not_be_written_is_the_machinery_s() -> None:
    failure = disk_failure(PermissionError(errno.EACCES, "Permission denied", "/x/.runs"))
    assert (failure.exit_code, str(failure).partition(" Give")[0]) == (75, "/x/.runs: Permission denied.")
    with pytest.raises(FileNotFoundError):
        disk_failure(FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"))


def test_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = reforge("compose")
    assert done.returncode == 2
    assert "No dvc.yaml in" in done.stderr


def test_table_prints_the_report_s(project: Path) -> None:
    Path("report").mkdir()
    Path("report/table.md").write_text("| a |\n")
    assert reforge("table").stdout == "| a |\n"


def test_doctor_names_what_there_is(project: Path) -> None:
    done = reforge("doctor")
    assert "python " in done.stdout
    assert "port 4200" in done.stdout
    assert "torch " in done.stdout


def test_judging_again_needs_no_torch() -> None:
    """It reads text, and starting would take four times as long."""
    program = "import sys, reforge.retrace.regrade; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False True\n"


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "dvc", "hydra", "vllm")
    program = f"import sys, reforge.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_stage_always_runs_with_one_order_of_sets(project: Path) -> None:
    """`reforge stage` starts itself again if the hash seed is another: seen in an injected module's own record."""
    (project / "lib" / "sitecustomize.py").write_text(
        "import sys, types, os\n"
        "module = types.ModuleType('reforge.stages.curate')\n"
        "def run(ctx):\n"
        "    (ctx.out / 'data').mkdir()\n"
        "    (ctx.out / 'hash').write_text(os.environ['PYTHONHASHSEED'] + str(hash('a') == hash('a')))\n"
        "module.run = run\n"
        "sys.modules['reforge.stages.curate'] = module\n"
    )
    done = reforge(
        "stage", "curate@problems", PYTHONPATH=f"lib:{os.environ.get('PYTHONPATH', '')}", PYTHONHASHSEED="77"
    )
    assert done.returncode == 0, done.stderr
    assert Path("outputs/curate/problems/hash").read_text() == "0True"


def test_ui_on_a_port_in_use_says_which_and_what_to_do(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = reforge("ui", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.startswith(f"reforge: Port {port} of 127.0.0.1 cannot be used (Address already in use).")
    assert done.stderr.count("\n") == 1


def test_ui_before_the_first_run(project: Path) -> None:
    Path("mlflow.db").unlink()
    assert "mlflow.db appears with the first run" in reforge("ui").stderr


@pytest.mark.parametrize("words", [["-h"], ["gc", "-h"], ["judge", "-h"], ["judge", "program", "-h"]])
def test_help_has_its_short_name_everywhere(words: list[str]) -> None:
    done = reforge(*words)
    assert (done.returncode, "Usage:" in done.stdout) == (0, True)


def test_the_version_is_that_of_the_package() -> None:
    assert reforge("--version").stdout == f"reforge {version('reforge')}\n"

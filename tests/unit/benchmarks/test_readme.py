import json
import re
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
render = runpy.run_path(str(ROOT / "benchmarks" / "render.py"))


def test_results_in_the_documentation_are_those_of_the_committed_files():
    results, archived = (render["read"](ROOT / "benchmarks" / "results" / folder) for folder in (".", "archive"))
    readme = (ROOT / "README.md").read_text()
    assert readme == render["insert"](readme, render["headlines"](results)), "out of date: python -m benchmarks.render"
    text = (ROOT / "docs" / "results.md").read_text()
    assert text == render["full"](results, archived), "docs/results.md is out of date: python -m benchmarks.render"


def test_the_readme_is_for_people():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_plots_are_those_of_the_committed_results():
    for name, (path, draw) in render["PLOTS"].items():
        result = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
        assert path.read_text() == draw(result), f"{path.name} is out of date: python -m benchmarks.render"


def test_rendering_by_hand(tmp_path):
    claims = [
        {"claim": "gain", "value": 22.5, "unit": "points", "goal": "≥ 15", "met": True},
        {"claim": "low", "value": -1.0, "unit": "points", "goal": "> 0", "met": False},
        {"claim": "also", "value": 3, "unit": "points", "goal": "", "met": None},
    ]
    result = {
        "name": "x",
        "command": "python x",
        "commit": "abcdef0123456",
        "hardware": "h",
        "runs": [1],
        "claims": claims,
    }
    (tmp_path / "x.json").write_text(json.dumps(result))
    results = render["read"](tmp_path)
    text = render["full"](results)
    assert "## x\n\n`python x` · commit `abcdef0123` · h · 1 runs" in text
    assert (
        "| gain | 22.5 points | ≥ 15 | yes |\n| low | -1 points | > 0 | **no** |\n| also | 3 points |  |  |\n" in text
    )
    assert text + "\n## Archive: old\n\nRenamed. Claims and raw runs: `benchmarks/results/archive/old.json`.\n" == (
        render["full"](results, [{"name": "old", "why": "Renamed."}])
    )
    few = render["headlines"](results, ["x"])
    assert "| [x](docs/results.md#x) | gain | 22.5 points | ≥ 15 | yes |\n" in few
    assert "| low | -1 points | > 0 | **no** |\n" in few, "what was missed stays in sight"
    assert "also" not in few
    assert "gain" not in render["headlines"](results)
    assert "| low |" in render["headlines"](results)
    claims.append({"claim": "slow", "value": 1, "unit": "s", "goal": "< 1", "met": False})
    twice = render["headlines"]([{**result, "claims": claims}])
    assert "| low (one of 2 missed claims) |" in twice
    assert "slow" not in twice
    assert "| slow |" in render["headlines"]([{**result, "claims": claims}], ["x"])
    readme = "a\n<!-- results:begin -->\nold\n<!-- results:end -->\nb\n"
    assert "old" not in render["insert"](readme, few)
    assert render["insert"](readme, "") == "a\n<!-- results:begin -->\n<!-- results:end -->\nb\n"
    with pytest.raises(SystemExit, match="lost its marks"):
        render["insert"]("no marks", text)


def test_the_tree_of_the_readme_is_the_real_one():
    tree = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    named, folder = set(), ""
    for line in tree.splitlines():
        if match := re.match(r"( *)([\w./]+)(?:  |$)", line):
            folder = folder if match[1] else ""
            named.add(f"{folder}{match[2]}".rstrip("/"))
            folder = f"{folder}{match[2]}" if not match[1] and match[2].endswith("/") else folder
    assert [path for path in named if not (ROOT / path).exists()] == []
    listed = subprocess.run(["git", "ls-files", "src/reforge"], cwd=ROOT, capture_output=True, text=True, check=True)
    rooms = {"/".join(path.split("/")[:3]) for path in listed.stdout.split()} - {"src/reforge/__init__.py"}
    assert rooms == {path for path in named if path.startswith("src/reforge/")}
    assert {"conf", "flows", "tests", "benchmarks", "docs"} <= named

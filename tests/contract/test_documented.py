"""Documents that speak of code: the table of metrics and the table of traps are those of the code."""

import ast
import re
from pathlib import Path

from reforge.policy.batches import build_batch
from reforge.training.observe import rollout_metrics
from reforge.training.update import update
from tests.unit.training.policies import new_policy, objective, open_policy, rows
from tests.unit.training.test_credit import group

ROOT = Path(__file__).parents[2]
# what grpo.py and learn.py add to the metrics of rollouts and updates
OF_THE_LOOP = {"parity/max_abs", "learning_rate", "updates/empty", "updates/bad"}


def documented() -> set[str]:
    text = (ROOT / "docs" / "metrics.md").read_text()
    table = text[text.index("| key | unit |") : text.index("What depends on the clock")]
    first = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    return {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}


def test_every_metric_of_a_step_is_in_the_table_and_every_row_is_a_metric(tmp_path: Path) -> None:
    """Of a step with all options on."""
    what = objective(
        dual_clip=3.0,
        correction={"level": "token", "above": "clamp", "limit": 2.0},
        kl={"estimator": "k3", "coefficient": 0.1, "weighted": True},
    )
    learner = open_policy(new_policy(tmp_path), reference=True)
    of_update, bad = update(learner, [build_batch(rows(0), 96)], what)
    assert not bad
    of_rollouts = rollout_metrics([group((1.0, "stop"), (0.0, "stop"))], [[0.7, -0.7]])
    assert documented() == {*of_update, *of_rollouts, *OF_THE_LOOP}
    source = "".join((ROOT / "src/reforge/training" / name).read_text() for name in ("grpo.py", "learn.py"))
    assert all(f'"{name}"' in source for name in OF_THE_LOOP)


def trap_tests() -> set[str]:
    """The numbers in the names of tests."""
    names = [
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    return {found.group(1) for name in names if (found := re.match(r"test_trap_(\d\d)_", name))}


def test_every_trap_has_the_test_that_the_table_names() -> None:
    table = [
        line.split("|")[1:5] for line in (ROOT / "docs/traps.md").read_text().splitlines() if line.startswith("| ")
    ]
    cells = {number.strip(): here for number, _, _, here in table if number.strip().isdigit()}
    assert sorted(cells) == [f"{number:02}" for number in range(1, 28)]
    assert {number for here in cells.values() for number in re.findall(r"`test_trap_(\d\d)`", here)} == trap_tests()
    for path in re.findall(r"(?:tests|benchmarks)/[\w/.]+", " ".join(cells.values())):
        assert (ROOT / path).exists(), path

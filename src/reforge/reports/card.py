"""The data card: what a reader of the set must know before training on it, made from the run that curated it.

A README.md in the form that data hubs read, with plots beside it. Equal sets give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from jinja2 import Environment, PackageLoader, StrictUndefined

from reforge.config.problems import Curate
from reforge.environments.selection import RULE
from reforge.problems.funnel import Quarantined, reasons
from reforge.records import Problem
from reforge.reports.visible import visible

_EXAMPLES = 5


@dataclass(frozen=True)
class Card:
    """The contents of a data card. `steps` maps each step of curation to its counts, `sides` each split to its
    problems."""

    config: Curate
    steps: Mapping[str, Mapping[str, int]]
    quarantined: tuple[Quarantined, ...]
    sides: Mapping[str, Sequence[Problem]]


def write_card(folder: Path, card: Card) -> None:
    problems = [problem for side in card.sides.values() for problem in side]
    for name, title, values in (
        ("difficulty", "Difficulty", [problem.difficulty for problem in problems]),
        ("statement", "Characters of a statement", [len(problem.statement) for problem in problems]),
        ("tests", "Tests of a problem", [len(problem.tests) for problem in problems]),
    ):
        _plot(folder / "plots" / f"{name}.svg", title, values)
    environment = Environment(
        loader=PackageLoader("reforge", "reports"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    text = environment.get_template("card.md.j2").render(
        card=card,
        config=card.config,
        licences=sorted({source.licence for source in card.config.sources.values() if source.licence}),
        reasons=reasons(card.quarantined),
        distributions={side: _distributions(problems) for side, problems in card.sides.items()},
        examples={kind: _examples(card.quarantined, kind) for kind in ("contaminated", "duplicate")},
        limits=_limits(card, problems),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _cell(text: object) -> str:
    """Escape text of a data set for one cell of a table: it gets no line, bar or tag of its own."""
    shown = " ".join(visible(str(text), 300).split())
    return shown.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _examples(quarantined: Sequence[Quarantined], kind: str) -> list[Quarantined]:
    return [item for item in quarantined if item.reason.startswith(f"{kind}:")][:_EXAMPLES]


def _distributions(problems: Sequence[Problem]) -> dict[str, list[int]]:
    """Return the minimum, the three quartiles and the maximum of each measure that is not 0 throughout."""
    measured = {
        "tests of a problem": [len(problem.tests) for problem in problems],
        "characters of a statement": [len(problem.statement) for problem in problems],
        "characters of a reference": [len(problem.solution) for problem in problems if problem.solution],
        "difficulty": [problem.difficulty for problem in problems],
    }
    return {name: _five(values) for name, values in measured.items() if any(values)}


def _five(values: Sequence[int]) -> list[int]:
    middle = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return [min(values), *map(round, middle), max(values)]


def _limits(card: Card, problems: Sequence[Problem]) -> list[str]:
    """Return what this set does not promise, as sentences with its own counts."""
    config, total = card.config, len(problems)

    def of(count: int) -> str:
        return f"{count:,} of {total:,} problems"

    said = []
    if bare := sum(not problem.solution.strip() for problem in problems):
        said.append(f"{of(bare)} have no reference program: nothing shows that their tests can be passed.")
    if several := sum(problem.several_answers for problem in problems):
        said.append(f"{of(several)} have published programs that answer differently: a right answer may be refused.")
    if undated := sum(not problem.date for problem in problems):
        said.append(f"{of(undated)} have no date, so nobody can tell whether a model has seen them before its cut-off.")
    if ungraded := sum(problem.difficulty == 0 for problem in problems):
        said.append(f"{of(ungraded)} have no grade of difficulty; grades of different sources are different scales.")
    if config.near is None:
        said.append("Near-duplicates were not looked for.")
    if not config.against:
        said.append("No evaluation set was given: contamination was not looked for.")
    else:
        said.append(f"Contamination was looked for in {', '.join(config.against)} and nowhere else.")
    if config.verify.runs == 1:
        said.append("Each reference ran once: a problem whose reference fails now and then was not found.")
    said.append(
        "Tests are those of the sources: a program that passes them may be wrong where they do not look. Rewards use "
        f"some of them, chosen by the rule {RULE}."
    )
    return said


def _plot(path: Path, title: str, values: Sequence[int]) -> None:
    import matplotlib  # here, as it takes half a second and only curation draws with it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    with pyplot.rc_context({"svg.hashsalt": title, "font.size": 9, "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(figsize=(4.5, 2.4), layout="constrained")
        axes.hist(values, bins=min(40, max(1, len(set(values)))), color="#1f5fa8")
        axes.set_xlabel(title)
        axes.set_ylabel("problems")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)

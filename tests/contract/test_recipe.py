"""The recipe of the README for the third door is the one that tests/pipeline/test_doors.py runs."""

import re

import pytest

from tests.conftest import ROOT

LINES = re.findall(r"^(prefect .*?)(?:  +#.*)?$", (ROOT / "README.md").read_text(), flags=re.M)


def test_it_is_whole_and_in_order() -> None:
    verbs = ["server start", "work-pool create", "deploy --name", "worker start", "deployment run"]
    assert [next((verb for verb in verbs if verb in line), line) for line in LINES[-5:]] == verbs


@pytest.mark.parametrize("line", LINES[-5:])
def test_the_pipeline_test_runs_its_words(line: str) -> None:
    test = (ROOT / "tests/pipeline/test_doors.py").read_text() + (ROOT / "tests/pipeline/doors.py").read_text()
    words = [word for word in line.split()[1:] if "=" not in word]
    assert all(f'"{word}"' in test for word in words), line

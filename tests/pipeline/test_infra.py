"""The files of infra/: what can be checked of them without containers or a cluster."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def unreferenced(template: dict[str, object]) -> set[str]:
    """Variables that the job ignores, because nothing in job_configuration names them; and the reverse."""
    defined = set(template["variables"]["properties"])  # type: ignore[index]
    return defined ^ set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))


def test_every_variable_of_the_job_template_is_used() -> None:
    template = json.loads((ROOT / "infra" / "gpu-job.json").read_text())
    assert unreferenced(template) == set()
    template["variables"]["properties"]["planted"] = {}
    assert unreferenced(template) == {"planted"}


def test_shared_servers_listen_on_loopback_only() -> None:
    services = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.usefixtures("prefect_api")
def test_the_zombie_automation_is_accepted_by_a_server() -> None:
    from prefect.automations import Automation

    made = runpy.run_path(str(ROOT / "infra" / "zombies.py"))["automation"]().create()
    assert Automation.read(id=made.id).trigger.within.total_seconds() == 540  # type: ignore[union-attr]

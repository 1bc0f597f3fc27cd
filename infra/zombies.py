"""Crash the runs whose machine is lost: an automation for a shared Prefect server. Once per server:

    PREFECT_API_URL=http://127.0.0.1:4200/api python infra/zombies.py

A worker notices when a run's process dies, but not its own death. Runs send a heartbeat every HEARTBEAT seconds
(the worker's environment: PREFECT_FLOWS_HEARTBEAT_FREQUENCY); three missing ones are taken for the end. A run that has
completed in silence can be crashed by mistake (prefect issue 18653), which is why the hooks of the flow are idempotent.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

HEARTBEAT = 180
ALIVE, ENDED = "prefect.flow-run.heartbeat", ("Completed", "Failed", "Cancelled", "Crashed")


def automation() -> Automation:
    return Automation(
        name="crash zombie runs",
        trigger=EventTrigger(
            after={ALIVE},
            expect={ALIVE, *(f"prefect.flow-run.{state}" for state in ENDED)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=3 * HEARTBEAT),
        ),
        actions=[
            ChangeFlowRunState(
                name=None, state=StateType.CRASHED, force=False, message="no heartbeat: its machine is lost"
            )
        ],
    )


if __name__ == "__main__":
    print(f"created: {automation().create().name}")  # type: ignore[union-attr]

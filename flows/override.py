"""Override: a person lets the snapshot that the last refresh held pass, by name and reason."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from uptake.bootstrap import open_uptake
from uptake.errors import UptakeError
from uptake.run_states import done, refused
from uptake.summaries.refresh import override_summary


@flow(name="override", flow_run_name="override: {snapshot}")
def override(snapshot: str = "", name: str = "", reason: str = "") -> State[Any]:
    """Publish the snapshot that the last refresh held, although checks of it failed. Mails nobody: the next tick does.

    Refused without a name or a reason, and for data that nobody could check or that are too old. What you let pass is
    what later data are compared with, for the checks that had failed; name and reason stay in the ledger.

    Args:
        snapshot: The snapshot as the held refresh names it, like 20260302T050000Z-1a2b3c4d
        name: Your name, kept with the data for whoever asks later
        reason: Why these data are right all the same, in a sentence
    """
    try:
        with closing(open_uptake()) as uptake:
            passed = uptake.override(snapshot.strip(), by=name, reason=reason)
    except UptakeError as error:
        return refused(error)
    create_markdown_artifact(override_summary(passed), key="override", description="What was let pass, by whom and why")
    return done(f"snapshot {passed.snapshot.snapshot_id} was let pass by {passed.by}: {passed.reason}")

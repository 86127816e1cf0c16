"""Nightly: keep our suppressions and the mail service's the same, and nothing longer than it may be kept."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from uptake.bootstrap import open_uptake
from uptake.errors import UptakeError
from uptake.run_states import done, refused


@flow(name="nightly")
def nightly() -> State[Any]:
    """Tell SendGrid who unsubscribed here, learn who did there, and empty webhook bodies that are old.

    Safe to run at any time and as often as you like. Nobody is taken off a list, and nobody is mailed.
    """
    try:
        with closing(open_uptake()) as uptake:
            dropped = uptake.drop_old_bodies()
            synced = uptake.sync_suppressions()
    except UptakeError as error:
        return refused(error)
    return done(f"told SendGrid of {synced.told} addresses, learned {synced.learned}; {dropped} old bodies emptied")

"""SendGrid's stand-in on a real socket: validates, accepts durably, and posts signed delivery events.

Truth is `$UPTAKE_HOME/fakegrid/accepted.jsonl`: one line per accepted recipient, on disk before the 202 leaves.
"""

from uptake.sandbox.fakegrid.app import Fault, create_fakegrid
from uptake.sandbox.fakegrid.disorder import Disorder
from uptake.sandbox.fakegrid.faults import FAULTS, FaultPlan, FaultyFront
from uptake.sandbox.fakegrid.rate_limit import RateLimit
from uptake.sandbox.fakegrid.signing import webhook_public_key
from uptake.sandbox.fakegrid.webhooks import EventPoster, Reaction, Recipients

__all__ = [
    "FAULTS",
    "Disorder",
    "EventPoster",
    "Fault",
    "FaultPlan",
    "FaultyFront",
    "RateLimit",
    "Reaction",
    "Recipients",
    "create_fakegrid",
    "webhook_public_key",
]

"""What a tick is told to have done: folding, deciding and sending in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uptake.operations.post_tasks import Posted
from uptake.operations.reconcile import ReconcileResult
from uptake.operations.record_delivery import DeliveryResult
from uptake.operations.send import SendResult
from uptake.operations.tick import TickResult


@dataclass(frozen=True, kw_only=True)
class TickReport:
    """What folding, deciding and sending came to."""

    folded: DeliveryResult
    decided: TickResult
    sent: SendResult
    reconciled: ReconcileResult | None = None  # where there was anything to ask the mail service's log
    told: Posted | None = None  # where the workspace has a task webhook
    doubled: str | None = None  # what events prove to have left twice, where this tick heard any

    @property
    def counts(self) -> Mapping[str, int]:
        """Everything that was counted, by name."""
        return {
            "delivery_events": self.folded.new_events,
            **{f"entered:{name}": count for name, count in self.decided.entered.items()},
            **self.decided.counts,
            "accepted": self.sent.accepted,
            "unknown": self.sent.unknown,
            "failed": self.sent.failed,
            **({} if self.told is None else {"tasks_posted": self.told.posted}),
            **({} if self.reconciled is None else {"found": self.reconciled.found, "held": self.reconciled.held}),
        }

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why something did not happen."""
        stuck = (f"{self.folded.stuck} webhook bodies cannot be folded: `uptake status`",) if self.folded.stuck else ()
        reconciled = self.reconciled
        unasked = (reconciled.trouble,) if reconciled is not None and reconciled.trouble is not None else ()
        stopped = () if self.sent.stopped is None else (f"sending stopped: {self.sent.stopped}",)
        return (*stuck, *unasked, *self.decided.reasons, *stopped)

    @property
    def stopped(self) -> str | None:
        """Why no mail could leave at all; None when the way was free."""
        return self.decided.gate_held or self.sent.stopped

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON takes it."""
        return {
            "status": self.decided.status,
            "snapshot_id": self.decided.snapshot_id,
            "counts": dict(self.counts),
            "withheld": {str(reason): count for reason, count in self.sent.withheld.items()},
            "reasons": list(self.reasons),
            "doubled": self.doubled,
        }

"""The workspace, `_workspace.yml`: what holds for every playbook."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from pydantic import Field, model_validator

from uptake.domain.playbook_values import ClockTime, Duration, Key, OptOutReason, Share, Strict, Weekday


class OptOut(Strict):
    """Exclusions of the workspace that this playbook does not follow, each with the reason why."""

    churned: OptOutReason | None = None
    internal: OptOutReason | None = None
    open_ticket: OptOutReason | None = None
    too_new: OptOutReason | None = None
    window: OptOutReason | None = Field(default=None, description="Why mail may leave outside the workspace's window")


class Sender(Strict):
    """Who the mail comes from."""

    name: str = Field(min_length=1)
    address: str = Field(pattern=r"^[\x21-\x7e]+@[\x21-\x7e]+$")


class Cap(Strict):
    """At most `mails` within `per`."""

    mails: int = Field(ge=1)
    per: Duration


class Caps(Strict):
    """How often anybody may be mailed, over all playbooks."""

    person: Cap
    account: Cap


class Window(Strict):
    """When mail may leave, on the recipient's own clock."""

    days: tuple[Weekday, ...] = Field(default=("mon", "tue", "wed", "thu", "fri"), min_length=1)
    start: ClockTime
    end: ClockTime = Field(description="The first moment after it")

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if not self.start < self.end:
            raise ValueError(f"window ends at {self.end:%H:%M}, which is not after its start {self.start:%H:%M}")
        return self

    @property
    def minutes(self) -> int:
        """How long it is open on each of its days."""
        return 60 * (self.end.hour - self.start.hour) + self.end.minute - self.start.minute

    def lies_within(self, other: Window) -> bool:
        """Say whether mail may leave in `other` whenever it may in this one."""
        return set(self.days) <= set(other.days) and other.start <= self.start and self.end <= other.end


class Exclusions(Strict):
    """Accounts that no playbook takes in."""

    churned: bool = True
    internal: bool = True
    open_ticket: bool = True
    younger_than: Duration = timedelta(days=14)

    def without(self, opt_out: OptOut) -> Exclusions:
        """Return the exclusions that are left for a playbook."""
        return Exclusions(
            churned=self.churned and opt_out.churned is None,
            internal=self.internal and opt_out.internal is None,
            open_ticket=self.open_ticket and opt_out.open_ticket is None,
            younger_than=self.younger_than if opt_out.too_new is None else timedelta(0),
        )


class Automatic(Strict):
    """Up to where a plan may be approved without a person."""

    accounts: int = Field(ge=1, description="Accounts that would enter, all arms")
    mails: int = Field(ge=1, description="First sends over two weeks, at most")


class Approval(Strict):
    """How far an approval reaches."""

    tolerance: Share = 0.25
    expires: Duration = timedelta(days=90)
    automatic: Automatic | None = Field(
        default=None, description="Plans that `uptake approve --within-limits` approves; default: none"
    )


class RateLimit(Strict):
    """Shares of the mails sent."""

    warn: Share = Field(description="Above it, somebody is told")
    stop: Share = Field(description="Above it, the playbook pauses until a person resumes it")

    @model_validator(mode="after")
    def _warned_first(self) -> RateLimit:
        if self.warn > self.stop:
            raise ValueError(f"warn ({self.warn:.2%}) is above stop ({self.stop:.2%}); expected to be warned first")
        return self


class Guardrails(Strict):
    """What stops a playbook, whoever approved it."""

    audience_change: Share = Field(
        default=0.5, description="By how much an audience may fall or rise against the last snapshot"
    )
    complaints: RateLimit = Field(
        default=RateLimit(warn=0.001, stop=0.003), description="Mails reported as spam, by Gmail's and Yahoo's limits"
    )
    bounces: RateLimit = Field(
        default=RateLimit(warn=0.02, stop=0.05), description="Mails to addresses that do not exist"
    )
    unsubscribes: RateLimit = Field(
        default=RateLimit(warn=0.02, stop=0.05), description="Mails whose reader stopped such mail or all"
    )
    refusals: RateLimit = Field(
        default=RateLimit(warn=0.05, stop=0.15), description="Mails that a mailbox blocked or the mail service dropped"
    )
    within: Duration = Field(default=timedelta(days=7), description="How far back mails count")


class Consent(Strict):
    """On what basis people are mailed who gave no consent of their own."""

    default_basis: Literal["none", "soft_opt_in", "contract"] = "none"


class TaskWebhook(Strict):
    """Who is told of every task that is opened or closed."""

    url: str = Field(
        pattern=r"^(https://\S+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/\S*)?)$",
        description="https:// only; the secret is in the environment, UPTAKE_TASK_WEBHOOK_SECRET",
    )


class Workspace(Strict):
    """`_workspace.yml`: what holds for every playbook."""

    sender: Sender
    reply_to: Sender | None = None
    postal_address: str = Field(min_length=10)
    topics: dict[Key, int] = Field(min_length=1, description="Topic -> SendGrid unsubscribe group id")
    exclusions: Exclusions = Exclusions()
    caps: Caps
    window: Window
    holidays: tuple[date, ...] = ()
    default_time_zone: str = "UTC"
    default_locale: str = "en"
    approval: Approval = Approval()
    guardrails: Guardrails = Guardrails()
    global_control: Share = 0.0
    consent: Consent = Consent()
    allowed_links: tuple[str, ...] = Field(default=(), description="Hosts that stage texts may link to")
    # Not part of a release: it changes nothing about what people get, so nobody has to approve it again.
    task_webhook: TaskWebhook | None = Field(default=None, exclude=True, description="Who is told of tasks, as JSON")

"""A playbook: the YAML of `playbooks/<name>/` as frozen, strict models, and the release it makes with its workspace.

Conditions are still text here; `uptake.domain.conditions` parses them. Files, lines and texts are the
business of `uptake.adapters.playbook_files`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from uptake.domain.playbook_values import Condition, Duration, Key, OptOutReason, Share, Strict, TextFile
from uptake.domain.ways import Misplaced, longest, write_out
from uptake.domain.workspace import OptOut, Window, Workspace

NEXT_BEST = "next_best"  # `teaches:` this means: the feature recommended to each contact at entry
#: How long each day of a calendar is open.
CALENDAR_OPEN = timedelta(days=2)


class ContactChoice(Strict):
    """Which people of an account are taught; chosen at entry for both arms, never replaced."""

    prefer: tuple[str, ...] = Field(default=(), description="Roles in order of preference")
    max_per_account: int = Field(default=3, ge=1, le=1_000)


class Audience(Strict):
    """Who enters."""

    where: Condition = Field(description="Condition on account, contact, feature and account_feature")
    contacts: ContactChoice = ContactChoice()


def _goal(value: object) -> object:
    """Refuse a bare `none`: whoever asks later wants to know why nothing is measured."""
    if value in (None, "none"):
        raise ValueError("a playbook without a goal says why, like goal: {none: A survey teaches nothing}")
    return value


class Goal(Strict):
    """What the playbook wants, measured in product usage and counted alike in every arm; or why it wants nothing."""

    reach: Literal["adopted", "tried"] = "adopted"
    by: Literal["account", "contact"] = "account"
    within: Duration | None = Field(default=None, description="How long after entry it counts, like 28d")
    none: OptOutReason | None = Field(default=None, description="Why there is no goal: reported without lift")

    @model_validator(mode="after")
    def _one_kind(self) -> Goal:
        if (self.within is None) == (self.none is None):
            raise ValueError("a goal has `within`, like 28d, or says why there is `none`")
        return self


class StageGoal(Strict):
    """What one stage is for: who has reached it already is not asked again."""

    feature: Key | None = Field(default=None, description="A feature_key; default: what the playbook teaches")
    reach: Literal["adopted", "tried"] = "adopted"
    by: Literal["account", "contact"] = "account"


class Way(Strict):
    """Where a contact goes from a stage."""

    to: Key = Field(description="A later stage, or end")
    when: Condition | None = None
    times: int | None = Field(default=None, ge=2, le=20, description="Of a way back: how often that part is walked")


def _ways(value: object) -> object:
    """Read `next: tips` and `next: {to: tips, when: ...}` as the one way they are."""
    if isinstance(value, str):
        return ({"to": value},)
    return (value,) if isinstance(value, dict) else value


class ReEntry(Strict):
    """When an account may enter again."""

    after: Duration
    max: int = Field(ge=1, description="Entries in all, the first included")


def _as_written(schema: dict[str, Any]) -> None:
    """Let editors take `next: tips` and one way without a list, too."""
    many = {key: schema.pop(key) for key in ("items", "maxItems", "type")}
    schema["anyOf"] = [{"type": "string"}, many["items"], many]


class Stage(Strict):
    """One step: an e-mail to each contact, or a task for a person."""

    model_config = ConfigDict(serialize_by_alias=True)

    email: TextFile | None = Field(default=None, description="Text in the same folder")
    task: str | None = Field(default=None, min_length=1, max_length=200, description="What somebody should do")
    after: Duration = Field(default=timedelta(0), description="Counted from the end of the stage before")
    when: Condition | None = None
    wait_until: Condition | None = Field(default=None, description="Wait, from when it is due, until this is true")
    wait_for: Duration | None = Field(default=None, alias="for", description="How long `wait_until` waits at most")
    goal: StageGoal | None = None
    next: Annotated[tuple[Way, ...], BeforeValidator(_ways)] = Field(
        default=(),
        max_length=10,
        description="Where it goes from here; default: the next stage of the file",
        json_schema_extra=_as_written,
    )
    owner: str | None = Field(default=None, min_length=1, description="Who does the task; default: the account's CSM")
    within: Duration | None = Field(default=None, description="How long the task may take; default 7d")
    dedupe: Key | None = Field(
        default=None, description="Of the tasks with this key an account has one open at a time, over all playbooks"
    )
    facts: tuple[str, ...] = Field(default=(), max_length=20, description="Columns the task shows, like account.arr")
    words: TextFile | None = Field(default=None, description="Suggested words: a text in the same folder")

    @model_validator(mode="after")
    def _one_kind(self) -> Stage:
        if (self.email is None) == (self.task is None):
            raise ValueError("a stage has either `email` or `task`")
        if self.task is None and (of_task := [key for key in _OF_TASKS if getattr(self, key)]):
            raise ValueError(f"`{of_task[0]}` belongs to a task, and this stage is an e-mail")
        if (self.wait_until is None) != (self.wait_for is None):
            raise ValueError("`wait_until` and `for` go together: until what is waited, and how long at most")
        return self

    def dedupe_key(self, playbook: str, stage_key: str) -> str:
        """Return what makes two open tasks of one account the same; of its own, a stage has one per account."""
        return self.dedupe or f"{playbook}/{stage_key}"

    @property
    def time_to_do(self) -> timedelta:
        """How long its task may take."""
        return self.within or TIME_TO_DO


_OF_TASKS = ("owner", "within", "dedupe", "facts", "words")
#: How long a task may take that does not say.
TIME_TO_DO = timedelta(days=7)


class Edits(StrEnum):
    """What a changed file means for people already in."""

    FOLLOW = "follow"  #: they follow the new definition, their place kept by stage key
    PIN = "pin"  #: they keep the definition they entered with


class Playbook(Strict):
    """One playbook file."""

    teaches: Key | None = Field(default=None, description="A feature_key of the catalogue, or next_best")
    topic: Key = Field(description="Unsubscribe topic, from _workspace.yml")
    audience: Audience
    goal: Annotated[Goal, BeforeValidator(_goal)]
    holdout: Share = Field(description="Share of accounts that get nothing, so that lift can be measured")
    exit_when: Condition | None = None
    stages: dict[Key, Stage] = Field(min_length=1)
    re_entry: ReEntry | None = None
    opt_out: OptOut = OptOut()
    edits: Edits = Edits.FOLLOW
    priority: int = Field(default=100, ge=0, le=1_000, description="The lowest wins a person's attention")
    window: Window | None = Field(default=None, description="When its mail may leave; default: the workspace's")
    enter: Literal["match", "manual", "calendar"] = Field(
        default="match", description="Whoever matches, only whom a person takes in, or whoever matches on given days"
    )
    calendar: tuple[date, ...] = Field(default=(), max_length=400, description="The days on which accounts enter")
    backfill: Literal["none", "all"] = Field(
        default="none", description="Whether those enter who matched before it was first approved"
    )

    @field_validator("stages")
    @classmethod
    def _write_out(cls, stages: dict[Key, Stage]) -> dict[Key, Stage]:
        """Loops are written out at once, so that nothing that reads stages ever meets one."""
        return write_out(stages)

    @model_validator(mode="after")
    def _teaches_for_a_goal(self) -> Playbook:
        if self.teaches is None and self.goal.none is None:
            raise Misplaced("the key is missing; only a playbook without a goal teaches nothing", "teaches")
        if self.teaches is None and (aimed := [key for key, stage in self.stages.items() if stage.goal]):
            raise Misplaced("a stage of a playbook that teaches nothing has no goal", "stages", aimed[0], "goal")
        return self

    @model_validator(mode="after")
    def _enters(self) -> Playbook:
        if (self.enter == "calendar") != bool(self.calendar):
            raise Misplaced("`enter: calendar` and a `calendar` with its days go together", "enter")
        if self.enter == "manual" and self.holdout > 0:
            raise Misplaced("whom a person takes in is outside lift; expected 0% with `enter: manual`", "holdout")
        if self.enter == "calendar" and self.re_entry is not None:
            raise Misplaced("with `enter: calendar` accounts enter again on each of its days", "re_entry")
        return self

    @property
    def only_new(self) -> bool:
        """Whether those who matched before its launch stay out."""
        return self.enter == "match" and self.backfill == "none"

    def opens_on(self, now: datetime) -> date | None:
        """Return the day of its calendar on which accounts enter now; None when it is closed.

        A day stays open for `CALENDAR_OPEN`, so that a machine that was off on it loses nothing.
        """
        today = now.astimezone(UTC).date()
        return max((day for day in self.calendar if day <= today < day + CALENDAR_OPEN), default=None)

    def next_opening(self, now: datetime) -> date | None:
        """Return the first day of its calendar that is still to come; None when none is left."""
        today = now.astimezone(UTC).date()
        return min((day for day in self.calendar if day > today), default=None)

    def entry_moment(self, now: datetime) -> datetime:
        """Return when accounts may enter next: now, unless its calendar is closed and has a day to come."""
        day = None if self.opens_on(now) is not None else self.next_opening(now)
        return now if day is None else datetime.combine(day, time(), UTC)

    def takes_in(self, now: datetime) -> bool:
        """Say whether anybody may enter by matching now."""
        return self.enter == "match" or (self.enter == "calendar" and self.opens_on(now) is not None)

    @property
    def measured_for(self) -> timedelta:
        """How long after entry its enrollments are looked at."""
        return self.goal.within or longest(self.stages)


class StageText(Strict):
    """The text of one e-mail stage: Markdown with front matter, not yet rendered."""

    subject: str = Field(min_length=1, max_length=200)
    preheader: str = ""
    body: str = Field(min_length=1, description="Markdown with Jinja merge fields")


class Release(Strict):
    """All that decides what people get: definition, texts, layout and workspace rules, frozen together.

    The ledger stores it whole; the tick reads it from there and never from files, so that merging an edit
    mails nobody.
    """

    name: Key
    playbook: Playbook
    workspace: Workspace  # its exclusions as they hold for this playbook: without what it opts out of
    texts: dict[Key, StageText]  # by stage key, e-mail stages only
    words: dict[Key, str] = Field(
        default_factory=dict
    )  # by stage key: what to say at a task, Markdown with merge fields
    layout: str  # MJML

    @property
    def release_hash(self) -> str:
        """SHA-256 of the canonical form: any change of what people would get changes it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def template_hash(self, stage_key: str) -> str:
        """SHA-256 of one stage's text inside its layout."""
        text = self.texts[stage_key]
        return hashlib.sha256(f"{self.layout}\x1f{text.model_dump_json()}".encode()).hexdigest()

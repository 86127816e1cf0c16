"""Worlds for the rules of journeys: made up at random, or small and by hand; and the releases that live in them."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import count
from random import Random

import pyarrow as pa

from uptake.adapters.journeys import side
from uptake.domain.arms import Arm, arm_of
from uptake.domain.playbooks import NEXT_BEST, Playbook, Release, StageText
from uptake.domain.workspace import Workspace
from uptake.ports import ControlState
from uptake.testing import write_snapshot

NOW = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TEXT = StageText(subject="Subject", body="Body")

WORKSPACE = {
    "sender": {"name": "Uptake", "address": "success@vendor.example"},
    "postal_address": "1 Long Street, Town",
    "topics": {"training": 7, "news": 8},
    "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 3, "per": "7d"}},
    "window": {"start": time(8), "end": time(18)},
    "default_time_zone": "Europe/Berlin",
    "global_control": "5%",
}
PLAYBOOK = {
    "teaches": "f1",
    "topic": "training",
    "audience": {
        "where": "account.plan in ['team', 'business'] and feature.adoption_state == 'never'",
        "contacts": {"prefer": ["admin", "owner"], "max_per_account": 2},
    },
    "goal": {"reach": "adopted", "by": "account", "within": "28d"},
    "holdout": "15%",
    "backfill": "all",
    "stages": {"why": {"email": "why.md"}, "how": {"email": "how.md", "after": "3d"}},
}


def release(name="alpha", *, workspace=None, **playbook):
    definition = Playbook.model_validate(PLAYBOOK | playbook)
    texts = {key: TEXT for key, stage in definition.stages.items() if stage.email}
    rules = Workspace.model_validate(WORKSPACE | (workspace or {}))
    return Release(name=name, playbook=definition, workspace=rules, texts=texts, layout="")


TIGHT = {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 1, "per": "2d"}}
ALPHA = release(
    workspace={"caps": TIGHT},
    exit_when="account.arr < 100",
    audience=PLAYBOOK["audience"] | {"contacts": {"prefer": ["admin", "owner"], "max_per_account": 1}},
    stages={
        "why": {"email": "why.md"},
        "how": {"email": "how.md", "after": "3d", "when": "feature.adoption_state == 'never'"},
        "call": {
            "task": "Offer help",
            "after": "2d",
            "when": "account.arr >= 20000 and enrollment.age_days >= 1",
            "dedupe": "help",
            "facts": ["account.arr", "contact.role"],
        },
    },
    re_entry={"after": "20d", "max": 2},
    backfill="none",
)
ALPHA_EDITED = release(
    exit_when="account.arr < 100",
    stages={
        "new": {"email": "new.md"},
        "why": {"email": "why.md"},
        "call": {"task": "Offer help", "after": "1d", "owner": "rep"},
    },
)
BETA = release(
    "beta",
    teaches=NEXT_BEST,
    topic="news",
    priority=50,
    goal={"reach": "tried", "by": "contact", "within": "14d"},
    audience={
        "where": "account.age_days >= 14 and sends.count_28d <= 2 and account_feature.adoption_state != 'lapsed'",
        "contacts": {"max_per_account": 3},
    },
    exit_when="contact.role == 'guest' or sends.days_since_last > 50",
    stages={
        "tip": {
            "email": "tip.md",
            "when": "contact.active_days_28 > 3",
            "next": [{"to": "ask", "when": "contact.role == 'admin'"}, {"to": "end", "when": "account.arr < 100"}],
        },
        "deep": {
            "email": "deep.md",
            "goal": {"feature": "f2", "reach": "tried", "by": "contact"},
            "wait_until": "feature.adoption_state == 'tried'",
            "for": "4d",
        },
        "ask": {"task": "Ask", "dedupe": "help", "goal": {}},
        "more": {"email": "more.md", "after": "1d"},
    },
    workspace={
        "caps": TIGHT,
        "consent": {"default_basis": "contract"},
        "exclusions": {"churned": False, "open_ticket": False},
    },
)
NEWS = release(
    "beta",
    teaches=None,
    goal={"none": "News teach nothing"},
    topic="news",
    audience={"where": "account.age_days >= 14"},
    enter="calendar",
    calendar=["2026-02-01", "2026-03-02", "2026-03-30"],
)
RELEASES = {1: ALPHA, 2: BETA, 3: ALPHA_EDITED}


@dataclass
class World:
    """Everything the rules look at, as plain rows."""

    marts: dict = field(default_factory=lambda: defaultdict(list))
    ledger: dict = field(default_factory=lambda: defaultdict(list))
    controls: ControlState = field(default_factory=ControlState)

    def tables(self):
        return {
            name: pa.Table.from_pylist(
                [{key: row.get(key) for key in schema.names} for row in self.ledger[name]], schema=schema
            )
            for name, schema in side.LEDGER.items()
        }


def naive(moment):
    return moment.replace(tzinfo=None)


def make_world(seed, *, count_accounts=60):
    r, world = Random(seed), World()
    states = ["never"] * 14 + ["tried", "adopted", "lapsed", None]
    zones = ["Asia/Tokyo", "Europe/London", "Europe/Berlin", "Nowhere/Land", "", None, None]
    addresses = [f"address-{i}" for i in range(count_accounts * 2)]
    moments = [
        naive(NOW - timedelta(hours=r.choice([0, 1, 24, 48, 72, 72, 96, 120, 144, 168, 200, 900]))) for _ in range(40)
    ]
    for number in range(count_accounts):
        account_id = f"account-{number}"
        world.marts["accounts_current"].append(
            {
                "account_id": account_id,
                "plan": r.choice(["team", "business", "free", "", None]),
                "arr": r.choice([50.0, 5_000.0, 5_000.0, 30_000.0, 30_000.0, None]),
                "seats": r.choice([1, 11, 60, 500, 2_000, None]),
                "age_days": r.choice([3, 14, 15, 400, 400, None]),
                "churned": r.choice([False] * 8 + [True, None]),
                "is_internal": r.choice([False] * 12 + [True]),
                "count_open_tickets": r.choice([0] * 8 + [1, None]),
            }
        )
        world.marts["dim_accounts"].append({"account_id": account_id, "time_zone": r.choice(zones)})
        for feature in ("f1", "f2"):
            if r.random() < 0.9:
                world.marts["account_features"].append(
                    {
                        "account_id": account_id,
                        "feature_key": feature,
                        "is_entitled": r.random() < 0.9,
                        "adoption_state": r.choice(states),
                    }
                )
        contacts = [f"contact-{number}-{i}" for i in range(r.randrange(4))]
        for contact_id in contacts:
            key = {"contact_id": contact_id, "account_id": account_id}
            if r.random() < 0.95:
                person = {"active_days_28": r.choice([0, 3, 9, None]), "time_zone": r.choice(zones)}
                world.marts["contacts_current"].append(
                    key | person | {"role": r.choice(["admin", "owner", "guest", None])}
                )
            for feature in ("f1", "f2"):
                if r.random() < 0.5:
                    state = {"feature_key": feature, "adoption_state": r.choice(states), "days_used_28": r.randrange(9)}
                    world.marts["contact_features"].append(key | state)
            for rank, feature in enumerate(r.sample(["f1", "f2"], r.randrange(3)), start=1):
                world.marts["feature_recommendations"].append(
                    key | {"recommendation_rank": rank, "feature_key": feature}
                )
            if r.random() < 0.95:
                address = r.choice(addresses)
                world.ledger["people"].append(
                    key
                    | {
                        "address_hash": address if r.random() < 0.95 else None,
                        "time_zone": r.choice(zones),
                        "has_address": r.random() < 0.95,
                        "erased": r.random() < 0.03,
                    }
                )
                if r.random() < 0.2:
                    touch = {"address_hash": address, "accepted_at": r.choice(moments), "is_mail": r.random() < 0.8}
                    world.ledger["touches"].append(key | touch)
        for version_id, rules in ((1, ALPHA), (2, BETA)):
            if r.random() < 0.6:
                _enroll(world, r, moments, account_id, contacts, version_id, rules)
    if r.random() < 0.8:
        world.ledger["launches"].append({"playbook": "alpha"})
        some = [row["account_id"] for row in world.marts["accounts_current"] if r.random() < 0.2]
        world.ledger["launch_accounts"] += [{"playbook": "alpha", "account_id": one} for one in some]
    for address in addresses:
        if r.random() < 0.03:
            topic = r.choice([None, "training", "news"])
            world.ledger["suppressions"] += [{"address_hash": address, "topic": topic}] * r.randrange(1, 3)
        if r.random() < 0.9:
            expires_at = r.choice([None, None, None, naive(NOW), naive(NOW + DAY)])
            basis = r.choice(["opt_in", "opt_in", "opt_in", "contract", "none"])
            world.ledger["consents"].append({"address_hash": address, "basis": basis, "expires_at": expires_at})
    for row in world.marts["contacts_current"]:
        if r.random() < 0.15:
            world.ledger["feature_answers"].append(
                {"contact_id": row["contact_id"], "feature_key": r.choice(["f1", "f2"])}
            )
    if r.random() < 0.3:
        some = [f"account-{i}" for i in range(count_accounts * 2)]
        world.controls = ControlState(
            everything=r.choice([None, None, "holiday"]),
            playbooks=r.choice([{}, {}, {"alpha": "pause"}, {"beta": "pause", "alpha": "stop"}]),
            accounts={r.choice(some): "pause", r.choice(some): "stop"},
            sending_locked=r.choice([None, None, "401"]),
        )
    return world


def _enroll(world, r, moments, account_id, contacts, version_id, rules):
    arm = arm_of(account_id, salt=rules.name, holdout=rules.playbook.holdout, global_control=0.05).value
    arm = arm if r.random() < 0.9 else r.choice(list(Arm)).value  # drawn when the share was another
    world.ledger["assignments"].append({"playbook": rules.name, "account_id": account_id, "arm": arm})
    keys = {key: stage.dedupe_key(rules.name, key) for key, stage in rules.playbook.stages.items() if stage.task}
    for entry_no in range(1, r.randrange(1, 3) + 1):
        is_open = entry_no == 2 or r.random() < 0.8
        enrollment_id = len(world.ledger["enrollments"]) + 1
        enrolled_at = r.choice(moments)
        world.ledger["enrollments"].append(
            {
                "enrollment_id": enrollment_id,
                "playbook": rules.name,
                "account_id": account_id,
                "entry_no": entry_no,
                "version_id": version_id,
                "arm": arm,
                "enrolled_at": enrolled_at,
                "ended_at": None if is_open else naive(NOW - r.choice([5, 20, 30]) * DAY),
            }
        )
        if not is_open:
            continue
        for contact_id in contacts:
            key = {"enrollment_id": enrollment_id, "contact_id": contact_id}
            if r.random() < 0.85:
                world.ledger["enrollment_contacts"].append(key | {"feature_key": r.choice(["f1", "f2"])})
                order = list(rules.playbook.stages)
                for stage_key in order[: r.choice([0, 0, 1, 1, 1, 2, 3])]:
                    ended_at = max(enrolled_at, r.choice(moments))
                    world.ledger["stage_ends"].append(key | {"stage_key": stage_key, "ended_at": ended_at})
                if r.random() < 0.1:
                    world.ledger["open_sends"].append(
                        key | {"stage_key": order[0], "status": r.choice(["planned", "sending", "unknown", "held"])}
                    )
        held = {task["dedupe_key"] for task in world.ledger["open_tasks"] if task["account_id"] == account_id}
        if r.random() < 0.4 and (free := [key for key, dedupe in keys.items() if dedupe not in held]):
            task = {"enrollment_id": enrollment_id, "stage_key": free[0], "account_id": account_id}
            task |= {"dedupe_key": keys[free[0]], "due_at": r.choice(moments) + r.choice([-5, 0, 7]) * DAY}
            waiting = [one for one in contacts if r.random() < 0.5] or [None]
            decided_at = r.choice(moments)
            world.ledger["open_tasks"] += [
                task | {"contact_id": one, "decided_at": None if one is None else decided_at} for one in waiting
            ]
        return


_NUMBERS = count()


def snapshot_of(world, folder):
    """A snapshot never changes: each gets an id of its own."""
    return write_snapshot(folder, as_of=NOW, marts=dict(world.marts), snapshot_id=f"s{next(_NUMBERS)}")


def people(count, *, account_id="acme", zone=None):
    return [
        {
            "contact_id": f"{account_id}-{i}",
            "account_id": account_id,
            "address_hash": f"{account_id}-address-{i}",
            "time_zone": zone,
            "has_address": True,
            "erased": False,
        }
        for i in range(count)
    ]


def small_world(*accounts, count_contacts=1, zone=None):
    world = World()
    for account_id in accounts or ("acme",):
        plain = {"plan": "team", "arr": 30_000.0, "age_days": 100, "churned": False, "is_internal": False}
        world.marts["accounts_current"].append({"account_id": account_id, **plain, "count_open_tickets": 0})
        state = {"is_entitled": True, "adoption_state": "never"}
        world.marts["account_features"].append({"account_id": account_id, "feature_key": "f1", **state})
        for person in people(count_contacts, account_id=account_id, zone=zone):
            world.marts["contacts_current"].append(
                {"contact_id": person["contact_id"], "account_id": account_id, "role": "member", "active_days_28": 5}
            )
            world.ledger["people"].append(person)
            world.ledger["consents"].append(
                {"address_hash": person["address_hash"], "basis": "opt_in", "expires_at": None}
            )
    return world


def entered(world, version_id=1, *, enrolled_at=NOW, playbook="alpha", arm="treatment"):
    """Enroll everybody of the world as if a tick had."""
    for account in world.marts["accounts_current"]:
        number, account_id = len(world.ledger["enrollments"]) + 1, account["account_id"]
        world.ledger["enrollments"].append(
            {
                "enrollment_id": number,
                "playbook": playbook,
                "account_id": account_id,
                "entry_no": 1,
                "version_id": version_id,
                "arm": arm,
                "enrolled_at": naive(enrolled_at),
            }
        )
        for person in world.ledger["people"]:
            if person["account_id"] == account_id:
                key = {"enrollment_id": number, "contact_id": person["contact_id"]}
                world.ledger["enrollment_contacts"].append(key | {"feature_key": "f1"})
    return world


PLAIN = release(holdout="0%", workspace={"global_control": "0%"})

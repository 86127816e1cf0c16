"""A ledger with planned mails, a fakegrid on a socket, and the oracle: what the crash tests start from and judge by.

The oracle reads the accept log and the ledger only: nothing twice, nothing lost, nothing half way.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa

from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.sendgrid import SendGridMailer
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.adapters.sendgrid_logs import SendGridLogs
from uptake.adapters.tokens import RecipientLinks, Tokens
from uptake.adapters.witness_file import WitnessFile
from uptake.domain.playbooks import Release
from uptake.domain.sends import TAKEN
from uptake.errors import SnapshotError
from uptake.operations.reconcile import ReconcileResult, reconcile
from uptake.operations.send import SendResult, send_due
from uptake.ports import Advance, Check, Claimed, Clock, Entry, Keys, Plan, Snapshot
from uptake.sandbox.fakegrid import create_fakegrid
from uptake.sandbox.fakegrid.accept_log import Tail, accepted_path
from uptake.sandbox.serving import Serving
from uptake.testing import FixedClock

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))
LINKS = RecipientLinks(Tokens(KEYS.tokens), "https://mail.acme.example")
API_KEY = "SG.crash"
GROUP = 7
#: What the sender waits for: short, because the tests let it wait on purpose.
TIMEOUT = httpx.Timeout(connect=5, write=5, read=float(os.environ.get("UPTAKE_TEST_READ_TIMEOUT", "1.0")), pool=5)
LAYOUT = (
    "<mjml><mj-body><mj-section><mj-column><mj-text>[[body]]</mj-text>"
    '<mj-text><a href="[[unsubscribe_url]]">Stop</a> [[postal_address]]</mj-text></mj-column></mj-section></mj-body>'
    "</mjml>"
)
RELEASE = Release.model_validate(
    {
        "name": "activate",
        "playbook": {
            "teaches": "boards",
            "topic": "training",
            "audience": {"where": "account.plan == 'team'"},
            "goal": {"within": "28d"},
            "holdout": "10%",
            "stages": {"why": {"email": "why.md"}},
        },
        "workspace": {
            "sender": {"name": "Ada", "address": "ada@acme.example"},
            "postal_address": "Acme, 1 Road, 12345 Town",
            "topics": {"training": GROUP},
            "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 900, "per": "7d"}},
            "window": {"start": "00:00", "end": "23:00"},
            "consent": {"default_basis": "contract"},
        },
        "texts": {"why": {"subject": "About boards", "body": "Hi {{ contact.given_name }}"}},
        "layout": LAYOUT,
    }
)


def address_of(contact_id: str) -> str:
    return f"{contact_id}@customer.example"


def names(count: int) -> list[str]:
    return [f"c{number:05}" for number in range(count)]


def load_people(ledger: SqlLedger, contact_ids: Sequence[str], *, now: datetime) -> None:
    count = len(contact_ids)
    strings = {
        "contact_id": contact_ids,
        "account_id": contact_ids,
        "address": [address_of(name) for name in contact_ids],
        "given_name": [name.title() for name in contact_ids],
        "full_name": [name.title() for name in contact_ids],
        **{column: ["x"] * count for column in ("role", "time_zone", "locale")},
    }
    columns = {name: pa.array(column, pa.string()) for name, column in strings.items()}
    absent = {"consent_basis": pa.nulls(count, pa.string()), "consent_at": pa.nulls(count, pa.timestamp("us"))}
    ledger.people.load(pa.table(columns | absent), now=now)


def fill(ledger: SqlLedger, contact_ids: Sequence[str]) -> None:
    """Plan one mail to each contact."""
    count = len(contact_ids)
    load_people(ledger, contact_ids, now=NOW)
    check = Check(name="c", status="passed", severity="critical")
    gate_id = ledger.gates.record(snapshot_id="s1", status="passed", checks=[check], reasons=[], as_of=NOW, now=NOW)
    version_id = ledger.releases.save_version(RELEASE, git_sha="abc", now=NOW)
    plan = Plan(
        plan_id="p1",
        playbook=RELEASE.name,
        version_id=version_id,
        release_hash=RELEASE.release_hash,
        plan_hash="h",
        snapshot_id="s1",
        planned_at=NOW,
        count_accounts=count,
        count_contacts=count,
        summary={},
    )
    ledger.releases.save_plan(plan)
    ledger.releases.approve(plan, by="Grace", now=NOW, expires_at=NOW + timedelta(days=90), tolerance=0.25)
    plan_sends(ledger, contact_ids, gate_id=gate_id)


def plan_sends(ledger: SqlLedger, contact_ids: Sequence[str], *, gate_id: int, now: datetime = NOW) -> None:
    """Enter contacts and plan their mail, as a tick does."""
    approved = ledger.releases.approved()[0]
    contacts = pa.Table.from_pylist(
        [
            {
                "account_id": name,
                "contact_id": name,
                "contact_rank": 1,
                "feature_key": "boards",
                "entry_no": 1,
                "arm": "treatment",
                "u": 0.5,
                "stratum": "team",
            }
            for name in contact_ids
        ]
    )
    run = ledger.runs.begin("tick", owner="test", now=now, lease=timedelta(minutes=5))
    assert run is not None
    ledger.enrollments.enter(
        Entry(contacts=contacts, left_out=pa.table({})), approved, snapshot_id="s1", gate_id=gate_id, now=now, run=run
    )
    entered = ledger.enrollments.tables(now=now)["enrollment_contacts"].sort_by("contact_id").to_pylist()
    wanted = set(contact_ids)
    verdicts = [
        {
            "enrollment_id": row["enrollment_id"],
            "contact_id": row["contact_id"],
            "stage_key": "why",
            "verdict": "send",
            "reason": None,
            "detail": "",
            "version_id": approved.version_id,
            "feature_key": "boards",
            "due_at": now.replace(tzinfo=None),
            "window_ends_at": None,
        }
        for row in entered
        if row["contact_id"] in wanted
    ]
    kinds = {
        "enrollment_id": pa.int64(),
        "version_id": pa.int64(),
        "due_at": pa.timestamp("us"),
        "window_ends_at": pa.timestamp("us"),
    }
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in verdicts[0]])
    ending = pa.schema([("enrollment_id", pa.int64()), ("contact_id", pa.string()), ("reason", pa.string())])
    ledger.enrollments.record(
        Advance(
            endings=ending.empty_table(),
            account_endings=ending.remove(1).empty_table(),
            verdicts=pa.Table.from_pylist(verdicts, schema=schema),
        ),
        releases={approved.version_id: RELEASE},
        snapshot_id="s1",
        gate_id=gate_id,
        git_sha="abc",
        run=run,
        now=now,
    )
    ledger.runs.finish(run, status="done", detail="", now=now)


class OneSnapshot:
    """The store of snapshots and the merge fields, as far as sending asks them."""

    def __init__(self, folder: Path, as_of: datetime = NOW) -> None:
        self.folder, self.as_of = folder, as_of

    def open(self, snapshot_id: str) -> Snapshot:
        if snapshot_id != "s1":
            raise SnapshotError(f"no snapshot {snapshot_id}")
        return Snapshot(snapshot_id="s1", as_of=self.as_of, directory=self.folder, manifest={})

    def values(self, snapshot: Snapshot, release: Release, claimed: Sequence[Claimed]) -> dict[str, Any]:
        return {
            send.send_id: {
                "account": {"account_id": send.account_id},
                "contact": {"given_name": send.given_name},
                "feature": {"name": None},
            }
            for send in claimed
        }


class Outbox:
    """One ledger and one worker's tools beside it."""

    def __init__(self, url: str, home: Path, base_url: str, clock: Clock | None = None) -> None:
        self.url, self.home, self.base_url = url, home, base_url
        self.clock: Any = clock or FixedClock(NOW)
        self.ledger = open_ledger(url, KEYS)
        self.snapshot = OneSnapshot(home)
        self.mailer = SendGridMailer(base_url, API_KEY, clock=self.clock, timeout=TIMEOUT)
        self.logs = SendGridLogs(base_url, API_KEY, pseudonym_key=KEYS.pseudonym, wait=lambda seconds: None)
        self.witness = WitnessFile(home)
        self.events = SendGridEvents(KEYS.pseudonym)

    def close(self) -> None:
        self.mailer.close()
        self.logs.close()
        self.ledger.close()

    def send(self, *, owner: str = "w1", **options: Any) -> SendResult:
        self.snapshot.as_of = self.clock.now()
        return send_due(
            self.ledger, self.mailer, self.snapshot, LINKS, self.snapshot, clock=self.clock, owner=owner,
            witness=self.witness, **options,
        )  # fmt: skip

    def reconcile(self, **options: Any) -> ReconcileResult:
        return reconcile(self.ledger, self.logs, self.events, clock=self.clock, **options)

    def resume(self) -> None:
        """A person opens what a refusal has closed."""
        for scope, target in (("sending", ""), ("playbook", RELEASE.name)):
            self.ledger.releases.control(scope, target, "resume", reason="seen", by="Grace", now=self.clock.now())

    def statuses(self) -> dict[str, str]:
        return statuses(self.ledger)

    def drain(self, rounds: int = 400) -> int:
        """Send until nothing is planned; return how many rounds it took."""
        for number in range(rounds):
            result = self.send(owner=f"drain{number}")
            left = Counter(self.statuses().values())
            if result.stopped is None and not left["planned"] + left["claimed"] + left["sending"] + left["withheld"]:
                return number + 1
            self.clock.moment += timedelta(minutes=6)  # leases, deadlines and rate limits run out
            self.resume()
            self._decide_again()
        raise AssertionError(f"never drained: {left}, {result.stopped}")

    def _decide_again(self) -> None:
        """What was planned over an hour ago is withheld to be decided again: let it be decided as before."""
        late = [send_id for send_id, status in self.statuses().items() if status == "withheld"]
        if late:
            with self.ledger._store.write() as connection:
                connection.exec_driver_sql(
                    "update sends set status = 'planned', reason = null, planned_at = "
                    f"'{self.clock.now().replace(tzinfo=None).isoformat(' ')}' where status = 'withheld'"
                )

    def settle(self) -> ReconcileResult:
        """Let evidence come in: the logs after half an hour, then hold what has none."""
        self.clock.moment += timedelta(minutes=31)
        first = self.reconcile()
        assert first.trouble is None, first.trouble
        self.clock.moment += timedelta(hours=25)
        self.reconcile()
        return first


def statuses(ledger: SqlLedger) -> dict[str, str]:
    with ledger._store.read() as connection:
        return dict(connection.exec_driver_sql("select send_id, status from sends").fetchall())


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the oracle found."""

    accepted: int
    duplicates: int
    losses: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        return self.duplicates == 0 and not self.losses


def judge(home: Path, found: Mapping[str, str]) -> Verdict:
    """Compare the ledger (status by send id) with the accept log.

    Lost: accepted by the service and not known to be (nor held or unknown, which are listed); taken in the ledger's
    eyes and never accepted; or half way.
    """
    log = Counter(line["send_id"] for line in Tail(accepted_path(home)).read_new())
    losses = [f"{send_id} was accepted and is not in the ledger" for send_id in set(log) - set(found)]
    for send_id, status in found.items():
        if status in TAKEN and not log[send_id]:
            losses.append(f"{send_id} is {status} and was never accepted")
        elif status in ("claimed", "sending"):
            losses.append(f"{send_id} is left {status}")
        elif log[send_id] and status not in TAKEN and status not in ("unknown", "held"):
            losses.append(f"{send_id} was accepted and is {status}")
    return Verdict(accepted=len(log), duplicates=sum(count - 1 for count in log.values()), losses=tuple(losses))


def prepared(folder: Path, count: int) -> Path:
    """Return the file of a SQLite ledger with `count` planned mails, made once per folder."""
    path = folder / f"planned-{count}.sqlite3"
    if not path.exists():
        ledger = open_ledger(f"sqlite:///{path}", KEYS)
        fill(ledger, names(count))
        ledger.close()
    return path


@contextmanager
def serving(home: Path, clock: Clock, **options: Any) -> Iterator[Serving]:
    """Serve fakegrid for this home."""
    app = create_fakegrid(home, clock=clock, api_key=API_KEY, groups=frozenset({GROUP}), **options)
    with Serving(app) as server:
        yield server


def copy_ledger(source: Path, home: Path) -> str:
    """Copy a prepared ledger into a home; return its URL."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "ledger.sqlite3"
    shutil.copy(source, path)
    return f"sqlite:///{path}"

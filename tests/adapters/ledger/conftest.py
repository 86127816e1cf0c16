"""One ledger on SQLite and one on PostgreSQL: the same tests run on both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from tests.postgres import require_server, server
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.ledger.schema import metadata
from uptake.domain.ids import address_hash, send_id
from uptake.domain.playbooks import Release
from uptake.ports import Advance, Approved, Check, Entry, Keys, Plan, Run

KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"k" * 32,))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server of our own, without a database name."""
    require_server()
    with server() as address:
        yield address


_names = (f"ledger_{number}" for number in range(1_000_000))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Which database this test runs on."""
    return str(request.param)


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if database == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    return _create_database(request.getfixturevalue("postgres"))


def _create_database(server: str) -> str:
    name = next(_names)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


def _migrated(url: str) -> str:
    open_ledger(url, KEYS).close()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema and nothing else: copied, because migrating is slow."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite3"
    _migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_ledger(postgres: str) -> str:
    """A migrated database, emptied before each test: making one is slow."""
    return _migrated(_create_database(postgres))


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> str:
    """The URL of a ledger without rows."""
    if database == "sqlite":
        path = tmp_path / "ledger.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url = str(request.getfixturevalue("postgres_ledger"))
    with psycopg.connect(url) as connection:
        for table in reversed(metadata.sorted_tables):  # quicker than TRUNCATE, which makes new files
            if table.name != "ledger_meta":
                connection.execute(f"DELETE FROM {table.name}")
    return url


@pytest.fixture
def open_again(ledger_url: str) -> Iterator[Callable[[], SqlLedger]]:
    """Open the same ledger another time, as another process would."""
    opened: list[SqlLedger] = []

    def again() -> SqlLedger:
        opened.append(open_ledger(ledger_url, KEYS))
        return opened[-1]

    yield again
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_again: Callable[[], SqlLedger]) -> SqlLedger:
    """An empty ledger."""
    return open_again()


def make_release(name: str = "dashboards", **changes: object) -> Release:
    """A playbook with two mails and a call."""
    workspace = {
        "sender": {"name": "Ada", "address": "ada@example.invalid"},
        "postal_address": "1 Example Street, Exampletown",
        "topics": {"product-training": 7, "news": 8},
        "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
        "window": {"start": "08:00", "end": "17:00"},
        "consent": {"default_basis": changes.pop("default_basis", "contract")},
    }
    playbook = {
        "teaches": "dashboards",
        "topic": "product-training",
        "audience": {"where": "account.plan == 'team'"},
        "goal": {"within": "28d"},
        "holdout": "10%",
        "stages": {"why": {"email": "why.md"}, "how": {"email": "how.md", "after": "3d"}, "call": {"task": "Call"}},
        **changes,
    }
    texts = {key: {"subject": f"About {key}", "body": "Hello"} for key in ("why", "how")}
    return Release.model_validate(
        {"name": name, "playbook": playbook, "workspace": workspace, "texts": texts, "layout": "<mjml/>"}
    )


class World:
    """A ledger with a passed gate, an approved playbook and people: what tests start from."""

    def __init__(self, ledger: SqlLedger, now: datetime, release: Release) -> None:
        self.ledger, self.now, self.release = ledger, now, release
        self.window_ends_at: datetime | None = None  # of what is planned from now on
        self.snapshot_id = "s1"
        check = Check(name="c", status="passed", severity="critical")
        self.gate_id = ledger.gates.record(
            snapshot_id=self.snapshot_id, status="passed", checks=[check], reasons=[], as_of=now, now=now
        )
        self.version_id = ledger.releases.save_version(release, git_sha="abc", now=now)
        self.plan = Plan(
            plan_id=f"p-{release.name}-{self.version_id}",
            playbook=release.name,
            version_id=self.version_id,
            release_hash=release.release_hash,
            plan_hash="h",
            snapshot_id=self.snapshot_id,
            planned_at=now,
            count_accounts=1,
            count_contacts=1,
            summary={"arms": {"treatment": 1}},
        )
        ledger.releases.save_plan(self.plan)
        ledger.releases.approve(self.plan, by="Grace", now=now, expires_at=now + timedelta(days=90), tolerance=0.25)

    @property
    def approved(self) -> Approved:
        return next(one for one in self.ledger.releases.approved() if one.playbook == self.release.name)

    def run(self, kind: str = "tick") -> Run:
        """A run that has the newest fence."""
        run = self.ledger.runs.begin(kind, owner="test", now=self.now, lease=timedelta(minutes=5))
        assert run is not None
        self.ledger.runs.finish(run, status="done", detail="", now=self.now)
        return run

    def load(self, *contacts: tuple[str, str], consent: str | None = None) -> int:
        """Load people, as (contact_id, account_id)."""
        rows = [
            {
                "contact_id": contact_id,
                "account_id": account_id,
                "address": address_of(contact_id),
                "given_name": contact_id.title(),
                "full_name": contact_id.title(),
                "role": "admin",
                "time_zone": "Europe/Paris",
                "locale": "fr",
                "consent_basis": consent,
                "consent_at": None,
            }
            for contact_id, account_id in contacts
        ]
        kinds = [(name, pa.timestamp("us") if name == "consent_at" else pa.string()) for name in rows[0]]
        return self.ledger.people.load(pa.Table.from_pylist(rows, schema=pa.schema(kinds)), now=self.now)

    def enter(self, *contacts: tuple[str, str], arm: str = "treatment", entry_no: int = 1) -> int:
        """Enter people, as (contact_id, account_id)."""
        rows = [
            {
                "account_id": account_id,
                "contact_id": contact_id,
                "contact_rank": rank,
                "feature_key": "dashboards",
                "entry_no": entry_no,
                "arm": arm,
                "u": 0.5,
                "stratum": "team",
            }
            for rank, (contact_id, account_id) in enumerate(contacts, start=1)
        ]
        entry = Entry(contacts=pa.Table.from_pylist(rows), left_out=pa.table({}))
        return self.ledger.enrollments.enter(
            entry, self.approved, snapshot_id=self.snapshot_id, gate_id=self.gate_id, now=self.now
        )

    def enrollment_id(self, contact_id: str) -> int:
        rows = self.ledger.read("contact_enrollments", contact_id=contact_id)
        return next(row["enrollment_id"] for row in reversed(rows) if row["playbook"] == self.release.name)

    def record(self, *verdicts: tuple[object, ...], endings: object = (), ended: object = (), run: Run | None = None):
        """Record verdicts as (contact_id, stage_key, verdict[, reason]), endings as (contact_id, reason), ended
        enrollments as (enrollment_id, reason).
        """
        rows = [
            {
                "enrollment_id": self.enrollment_id(contact_id),
                "contact_id": contact_id,
                "stage_key": stage_key,
                "verdict": verdict,
                "reason": reason[0] if reason else None,
                "detail": "",
                "version_id": self.version_id,
                "feature_key": "dashboards",
                "due_at": self.now.replace(tzinfo=None),
                "window_ends_at": self.window_ends_at and self.window_ends_at.replace(tzinfo=None),
                "owner": "csm-1",
                "facts": '{"account.arr":5.0}',
            }
            for contact_id, stage_key, verdict, *reason in verdicts
        ]
        advance = Advance(
            endings=pa.Table.from_pylist(
                [{"enrollment_id": self.enrollment_id(c), "contact_id": c, "reason": r} for c, r in endings],
                schema=ENDINGS,
            ),
            account_endings=pa.Table.from_pylist(
                [{"enrollment_id": e, "reason": r} for e, r in ended], schema=ACCOUNT_ENDINGS
            ),
            verdicts=pa.Table.from_pylist(rows, schema=VERDICTS),
        )
        return self.ledger.enrollments.record(
            advance,
            releases={self.version_id: self.release},
            snapshot_id=self.snapshot_id,
            gate_id=self.gate_id,
            git_sha="abc",
            run=run or self.run(),
            now=self.now,
        )

    def planned(self, *contacts: tuple[str, str], stage_key: str = "why") -> list[str]:
        """Load and enter people and plan a mail to each; return the send ids, in order."""
        self.load(*contacts)
        self.enter(*contacts)
        self.record(*((contact_id, stage_key, "send") for contact_id, _ in contacts))
        return [self.send_of(contact_id, stage_key) for contact_id, _ in contacts]

    def send_of(self, contact_id: str, stage_key: str = "why") -> str:
        """Return the send id of a planned mail."""
        row = self.ledger.read("contact_enrollments", contact_id=contact_id)[-1]
        return send_id(
            KEYS.pseudonym,
            playbook=row["playbook"],
            account_id=row["account_id"],
            entry_no=row["entry_no"],
            stage_key=stage_key,
            contact_id=contact_id,
        )

    def decided(self) -> dict[tuple[str, str, str | None], int]:
        """Count the decisions that stand, by stage, verdict and reason."""
        rows = self.ledger.read("decisions_by_reason")
        return {(row["stage_key"], row["verdict"], row["reason"]): row["count_contacts"] for row in rows}

    def status(self, send_id: str) -> str:
        (row,) = self.ledger.read("send", send_id=send_id)
        return str(row["status"])

    def claim(self, owner: str = "w1", limit: int = 100, lease: timedelta = timedelta(minutes=2)):
        return self.ledger.sends.claim(owner=owner, limit=limit, now=self.now, lease=lease)

    def intend(self, send_ids: list[str], owner: str = "w1"):
        return self.ledger.sends.intend(
            send_ids, owner=owner, body_hash="b", now=self.now, deadline=self.now + timedelta(minutes=1)
        )


def address_of(contact_id: str) -> str:
    return f"{contact_id}@example.invalid"


def hash_of(contact_id: str) -> str:
    return address_hash(KEYS.pseudonym, address_of(contact_id))


ENDINGS = pa.schema([("enrollment_id", pa.int64()), ("contact_id", pa.string()), ("reason", pa.string())])
ACCOUNT_ENDINGS = pa.schema([("enrollment_id", pa.int64()), ("reason", pa.string())])
VERDICTS = pa.schema(
    [
        ("enrollment_id", pa.int64()),
        ("contact_id", pa.string()),
        ("stage_key", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("version_id", pa.int64()),
        ("feature_key", pa.string()),
        ("due_at", pa.timestamp("us")),
        ("window_ends_at", pa.timestamp("us")),
        ("owner", pa.string()),
        ("facts", pa.string()),
    ]
)


@pytest.fixture
def world(ledger: SqlLedger, now: datetime) -> World:
    """A ledger to start from."""
    return World(ledger, now, make_release())


@pytest.fixture
def make_world(ledger: SqlLedger, now: datetime) -> Callable[..., World]:
    """Build a world of another release in the same ledger."""
    return lambda **changes: World(ledger, now, make_release(**changes))


@pytest.fixture(scope="session")
def new_world() -> Callable[[SqlLedger, datetime], World]:
    """Build a world in a ledger of the test's own."""
    return lambda ledger, now: World(ledger, now, make_release())

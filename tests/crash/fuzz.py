"""T17: playbooks, log lines, webhook bodies, tokens, forms and conditions, bent; each ends well or with a typed error.

What is held against the product: an error that is not one of ours, an answer with a traceback or a 500, a believed
token that nobody signed, a line that is neither an event nor unreadable, over a second of CPU, memory that grows.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import resource
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from ruamel.yaml import YAML

from tests.crash.fuzz_inputs import ConditionBender, Tree, bent_bytes, bent_text, bent_tree, written_json
from tests.crash.outbox import KEYS, NOW, load_people, names
from tests.crash.scanners import FORGERIES, TOKENS, token_of
from tests.crash.storm import PRIVATE, signed
from tests.crash.visitors import call
from uptake.adapters.conditions_duckdb import condition_names
from uptake.adapters.ledger import open_ledger
from uptake.adapters.ledger.schema import webhook_batches
from uptake.adapters.log_profile_duckdb import DuckLogProfiler, StagedEvents
from uptake.adapters.playbook_files import PlaybookFiles
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.adapters.source_mapping import read_mapping
from uptake.adapters.tokens import Claim
from uptake.domain.conditions import ColumnType, ConditionError, evaluate, parse
from uptake.domain.conditions.writer import write
from uptake.errors import UptakeError
from uptake.operations.record_delivery import record_delivery
from uptake.testing import FixedClock
from uptake.web_public import MAX_WEBHOOK_BYTES, create_public_app

ROOT = Path(__file__).resolve().parent.parent.parent
CPU_SECONDS = 1.0  # that one input may take
GROWTH = 300 * 1024  # KB that a process may grow by, whatever it is fed
LINES = 500  # of one file
_AT_ONCE = 25  # bodies that are folded together
_IS_PROBLEM = re.compile(r"[^\n:]+:\d+: [^\n]+")
_VALUES: Mapping[ColumnType, Sequence[object]] = {
    ColumnType.TEXT: (None, "", "team", "never", "é"),
    ColumnType.NUMBER: (None, 0.0, -1.0, 14.0, 1e308),
    ColumnType.BOOL: (None, True, False),
    ColumnType.DATE: (None, date(2026, 3, 3), date(1, 1, 1), date(9999, 12, 31)),
    ColumnType.TIMESTAMP: (None, datetime.fromisoformat("2026-03-03"), datetime.fromisoformat("9999-12-31T23:59:59")),
}


class TookTooLong(BaseException):
    """No code of the product may swallow it."""


@contextmanager
def limited(seconds: float = CPU_SECONDS) -> Iterator[None]:
    """Stop whatever takes more CPU seconds of this process; only in its first thread. Wall time says nothing here."""

    def stop(_signal: int, _frame: object) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass
class Fuzzed:
    """What a run came to."""

    inputs: int = 0
    ended: Counter[str] = field(default_factory=Counter)  # how, by kind of input
    losses: list[str] = field(default_factory=list)


class Fuzz:
    """Everything that reads what others wrote, and real inputs to bend."""

    def __init__(self, folder: Path, shared_data: Path, staged: Mapping[str, StagedEvents] | None = None) -> None:
        """Take a scratch folder, real inputs, and sources to read `log_file` by, beside guessing."""
        self._folder, self._staged = folder, staged or {}
        shutil.copytree(ROOT / "playbooks", folder / "playbooks", dirs_exist_ok=True)
        self._texts = {
            path.relative_to(folder / "playbooks").as_posix(): path.read_text()
            for path in sorted((folder / "playbooks").rglob("*"))
            if path.suffix in (".yml", ".md", ".mjml") and "tests" not in path.parts
        }
        self._mappings = [path.read_text() for path in sorted((ROOT / "dbt_project/mappings").glob("*.yml"))]
        self._files = PlaybookFiles(
            folder / "playbooks", catalogue=ROOT / "dbt_project/seeds/feature_catalog.csv", mapping=None
        )
        self._yaml = {name: YAML(typ="safe").load(text) for name, text in self._texts.items() if name.endswith("yml")}
        self._branches = [branch for tree in self._yaml.values() for branch in _branches(tree)]
        self._conditions = ConditionBender(
            [text for tree in self._yaml.values() for text in _conditions(tree) if text is not None]
        )
        self._lines = _real_lines(shared_data)
        self._events: list[Tree] = json.loads(
            (shared_data / "sendgrid-webhook/events_all_types_official.json").read_text()
        )
        for vector in json.loads((shared_data / "sendgrid-webhook/vectors.json").read_text())[:2]:
            payload = json.loads(vector["payload"])
            self._events += payload if isinstance(payload, list) else [payload]
        self._ledger = open_ledger(f"sqlite:///{folder / 'ledger.sqlite3'}", KEYS)
        sa.event.listen(self._ledger._store._engine, "connect", _fast)
        self._ledger.close()
        self._people = names(20)
        load_people(self._ledger, self._people, now=NOW)
        self._app = create_public_app(
            self._ledger, tokens=TOKENS, clock=FixedClock(NOW), webhook_keys=(PRIVATE.public_key(),),
            topics=("training",),
        )  # fmt: skip
        self._reader = SendGridEvents(KEYS.pseudonym)

    def close(self) -> None:
        self._ledger.close()

    def run(self, seed: int, counts: Mapping[str, int]) -> Fuzzed:
        """Feed so many inputs of each kind."""
        found, before = Fuzzed(), _peak()
        for kind, count in counts.items():
            feed: Callable[[random.Random, int, Fuzzed], None] = getattr(self, f"_{kind}")
            feed(random.Random(f"fuzz:{kind}:{seed}"), count, found)
            found.inputs += count
        if _peak() - before > GROWTH:
            found.losses.append(f"the process grew by {(_peak() - before) >> 10} MB")
        return found

    def _try(
        self, kind: str, found: Fuzzed, order: Callable[[], str], text: object, seconds: float = CPU_SECONDS
    ) -> None:
        """Feed one input; `order` answers how it ended, and raises what nobody should see."""
        try:
            with limited(seconds):
                found.ended[f"{kind}: {order()}"] += 1
        except (TookTooLong, Exception) as error:
            found.losses.append(f"{kind}: {type(error).__name__}: {str(error)[:200]} of {str(text)[:600]!r}")

    # --- what authors write ------------------------------------------------------------------------------------

    def _playbooks(self, chance: random.Random, count: int, found: Fuzzed) -> None:
        playbooks = [name.split("/")[0] for name in self._texts if name.endswith("/playbook.yml")]
        for _ in range(count):
            name = chance.choice(playbooks)
            file = chance.choice([one for one in self._texts if one.startswith((f"{name}/", "_"))])
            text = self._bent_yaml(file, chance) if file.endswith(".yml") and chance.random() < 0.6 else None
            text = text or bent_text(self._texts[file], chance, chance.choice(list(self._texts.values())))
            path = self._folder / "playbooks" / file
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            self._try("playbook", found, lambda: self._read_playbook(name), (file, text))  # noqa: B023
            path.write_text(self._texts[file])

    def _bent_yaml(self, file: str, chance: random.Random) -> str:
        tree = bent_tree(self._yaml[file], chance, self._branches)
        return written_json(tree, chance).decode("utf-8", "surrogatepass")  # which is YAML, too

    def _read_playbook(self, name: str) -> str:
        problems = self._files.problems(name)
        assert all(_IS_PROBLEM.fullmatch(one) for one in problems), problems
        if problems:
            return "refused"
        self._files.release(name)
        return "read"

    def _mapping_files(self, chance: random.Random, count: int, found: Fuzzed) -> None:
        path = self._folder / "bent.yml"
        for _ in range(count):
            text = chance.choice(self._mappings)
            if chance.random() < 0.6:
                text = written_json(bent_tree(YAML(typ="safe").load(text), chance, self._branches), chance).decode(
                    "utf-8", "surrogatepass"
                )
            else:
                text = bent_text(text, chance, chance.choice(self._mappings))
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            self._try("mapping", found, lambda: _typed(lambda: read_mapping(path)), text)

    def _conditions_of_authors(self, chance: random.Random, count: int, found: Fuzzed) -> None:
        columns = condition_names()
        for _ in range(count):
            text = self._conditions.bent(chance)
            row = {name: chance.choice(_VALUES[of]) for name, of in columns.items()}
            self._try("condition", found, lambda: _judge(text, columns, row), text)  # noqa: B023

    # --- what systems write ------------------------------------------------------------------------------------

    def _log_lines(self, chance: random.Random, count: int, found: Fuzzed) -> None:
        """Files of lines: each is an event or unreadable, and none stops the others."""
        ways: list[tuple[str, DuckLogProfiler]] = [("", DuckLogProfiler())]
        ways += [(name, DuckLogProfiler(lambda name, _raw: self._staged[name])) for name in self._staged]
        for begin in range(0, count, LINES):
            lines = [self._bent_line(chance) for _ in range(min(LINES, count - begin))]
            source, profiler = chance.choice(ways)
            path = log_file(self._folder, source)
            path.write_bytes(b"\n".join(lines) + b"\n")
            count_lines = sum(1 for line in lines if line.strip())

            def read() -> str:
                log = profiler.profile(self._folder / f"raw-{source}", source=source or None, now=NOW)  # noqa: B023
                for table in (table for table in log.tables if table.format == "NDJSON"):  # none of a file with a NUL
                    assert table.rows + table.unreadable == count_lines, (table.rows, table.unreadable)  # noqa: B023
                assert log.mapped is None or log.mapped.lines == count_lines, log.mapped  # noqa: B023
                return "read"

            self._try(f"lines {source}", found, lambda: _typed(read), f"seed's lines {begin}", 5 * CPU_SECONDS)

    def _bent_line(self, chance: random.Random) -> bytes:
        line = chance.choice(self._lines)
        match chance.randrange(10):
            case 0 | 1 | 2:
                found = line
            case 3 | 4:
                found = bent_bytes(line, chance, chance.choice(self._lines))
            case _:
                found = written_json(
                    bent_tree(json.loads(line), chance, [json.loads(chance.choice(self._lines))]), chance
                )
        return found.replace(b"\n", b" ").replace(b"\r", b" ")

    def _webhooks(self, chance: random.Random, count: int, found: Fuzzed) -> None:
        """Whatever a signed body says, it is stored, folded, and stops no other."""
        for begin in range(0, count, _AT_ONCE):
            bodies = [self._bent_body(chance) for _ in range(min(_AT_ONCE, count - begin))]
            for body in bodies:
                self._try("webhook", found, lambda: self._post(body), body)  # noqa: B023
            self._try("fold", found, self._fold, b"\n".join(bodies), 3 * CPU_SECONDS)

    def _bent_body(self, chance: random.Random) -> bytes:
        events: Tree = chance.choices(self._events, k=chance.choice((1, 2, 10)))
        if chance.random() < 0.3:
            return bent_bytes(json.dumps(events).encode(), chance, json.dumps(self._events).encode())
        return written_json(bent_tree(events, chance, self._events), chance)

    def _post(self, body: bytes) -> str:
        headers = list(signed(body).items())
        answer = asyncio.run(call(self._app, "POST", "/webhooks/sendgrid", headers=headers, body=body))
        if len(body) > MAX_WEBHOOK_BYTES:
            assert answer.status == 413, answer.status
            return "too long"
        assert answer.status == (204 if body[:1] in (b"[", b"{") else 403), answer.status
        events, unreadable = self._reader.read(body, received_at=NOW)
        return "read" if events and not unreadable else "partly read" if events else "unreadable"

    def _fold(self) -> str:
        record_delivery(self._ledger, self._reader, clock=FixedClock(NOW))
        with self._ledger._store.read() as connection:
            left = connection.scalar(
                sa.select(sa.func.count()).select_from(webhook_batches).where(webhook_batches.c.folded_at.is_(None))
            )
        assert left == 0, f"{left} bodies are not folded"
        return "done"

    # --- what strangers write ----------------------------------------------------------------------------------

    def _tokens(self, chance: random.Random, count: int, found: Fuzzed) -> None:
        claims = [Claim(contact_id=contact, topic="training", feature_key="boards") for contact in self._people]
        for _ in range(count):
            token, other = (token_of(chance.choice(self._people)) for _ in range(2))
            way = chance.choice(("text", "bytes", "form", *FORGERIES))
            form = b"List-Unsubscribe=One-Click"
            if way == "text":
                token = bent_text(token, chance, other)
            elif way == "bytes":
                token = bent_bytes(token.encode(), chance, other.encode()).decode("utf-8", "replace")
            elif way == "form":
                form = bent_bytes(
                    chance.choice((b"choice=everything", b"choice=topic:training&a=b", form)), chance, form * 400
                )
            else:
                token = FORGERIES[way](token, other, chance)
            token = token.encode("utf-8", "replace").decode()  # what a server makes of a path is UTF-8
            path = chance.choice(("/u/", "/p/")) + token

            def visit() -> str:
                claim = TOKENS.read(token)  # noqa: B023
                assert claim is None or claim in claims, "a token that nobody signed is believed"
                shown = asyncio.run(call(self._app, "GET", path))  # noqa: B023
                answer = asyncio.run(call(self._app, "POST", path, body=form))  # noqa: B023
                assert shown.status in (200, 404), shown.status
                assert answer.status in ((200, 400) if claim else (400, 404)), answer.status
                assert b"Traceback" not in shown.body + answer.body
                return "believed" if claim else "refused"

            self._try("token", found, visit, (path, form))


def log_file(folder: Path, source: str) -> Path:
    """Return the file below `folder/raw-SOURCE` that a source reads; "" is no source."""
    path = folder / f"raw-{source}" / ("x.json" if source == "gharchive" else "events/x.ndjson")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _typed(order: Callable[[], object]) -> str:
    """Do it; an error of ours, in one line, is an end like any other."""
    try:
        order()
    except UptakeError:
        return "refused"
    return "read"


def _judge(text: str, columns: Mapping[str, ColumnType], row: Mapping[str, Any]) -> str:
    try:
        condition = parse(text, columns)
    except ConditionError as error:
        return "refused" if 1 <= error.column <= len(text) + 1 else f"refused at {error.column}"
    assert evaluate(condition, row, NOW) in (True, False, None)
    assert parse(write(condition.root), columns).root == condition.root, write(condition.root)
    return "read"


def _real_lines(shared_data: Path) -> list[bytes]:
    with gzip.open(shared_data / "gharchive/2015-01-01-0.json.gz") as file:
        lines = [line.strip() for _, line in zip(range(400), file, strict=False)]
    lines += (shared_data / "sparkify/2018-11-05-events.json").read_bytes().splitlines()[:200]
    for path in sorted((ROOT / "dbt_project/sample").rglob("*.ndjson")):
        lines += path.read_bytes().splitlines() * 4
    return [line for line in lines if line.strip()]


def _branches(tree: Tree) -> list[Tree]:
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [tree, *(branch for one in inner for branch in _branches(one))]


def _conditions(tree: Tree) -> list[str]:
    stages = tree.get("stages", {}).values()
    found = [tree.get("audience", {}).get("where"), tree.get("exit_when"), *(stage.get("when") for stage in stages)]
    return [text for text in found if isinstance(text, str)]


def _peak() -> int:
    """The most memory this process has ever had, in KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _fast(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
        connection.execute(f"pragma {pragma}")


#: Inputs of one thousand: a playbook is read in a thousand times the time of a line.
OF_A_THOUSAND = {
    "playbooks": 10, "mapping_files": 10, "conditions_of_authors": 180, "log_lines": 500, "webhooks": 150,
    "tokens": 150,
}  # fmt: skip
assert sum(OF_A_THOUSAND.values()) == 1_000

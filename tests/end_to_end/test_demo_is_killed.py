"""The whole loop, killed with -9 and started again: nothing twice, nothing lost, counted on fakegrid's own log."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

WORLD = Path(__file__).with_name("world.py")
SECONDS = 600

pytestmark = pytest.mark.slow


def accepted(home: Path) -> list[dict[str, str]]:
    path = home / "fakegrid" / "accepted.jsonl"
    return (
        [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        if path.exists()
        else []
    )


def start(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORLD), str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ),
    )


def finish(home: Path) -> str:
    process = start(home)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output[-3_000:]
    return output


def kill_after(home: Path, count: int) -> int:
    """Start, kill -9 as soon as fakegrid has accepted more than `count` mails; return how many it has then."""
    process = start(home)
    deadline = time.monotonic() + SECONDS
    while len(accepted(home)) <= count:
        assert process.poll() is None, f"it ended before it was killed:\n{process.communicate()[0][-3_000:]}"
        assert time.monotonic() < deadline, "it never came as far as the kill"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return len(accepted(home))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same demo, never killed."""
    home = tmp_path_factory.mktemp("undisturbed") / "demo"
    assert "The customer base" in finish(home)
    return home


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo killed in the first and in a later wave of mails, then finished."""
    home = tmp_path_factory.mktemp("killed") / "demo"
    first = kill_after(home, 3)
    second = kill_after(home, first + 20)
    assert second > first
    finish(home)
    return home


def test_a_killed_demo_sends_nothing_twice(killed: Path) -> None:
    log = accepted(killed)
    assert len(log) > 30
    assert max(Counter(line["send_id"] for line in log).values()) == 1


def test_a_killed_demo_loses_nothing_in_silence(killed: Path) -> None:
    with sqlite3.connect(f"file:{killed / 'ledger.sqlite3'}?mode=ro", uri=True) as ledger:
        sends = dict(ledger.execute("select send_id, status from sends").fetchall())
        unsaid = ledger.execute(
            "select count(*) from sends where status in ('failed', 'withheld') and reason is null"
        ).fetchone()
    left = {line["send_id"] for line in accepted(killed)}
    assert left <= set(sends)
    assert {sends[send_id] for send_id in left} <= {"accepted", "delivered", "bounced", "dropped", "unknown", "held"}
    # What the ledger says was taken, fakegrid has; and nothing is left half way without being listed.
    assert {
        send_id for send_id, status in sends.items() if status in ("accepted", "delivered", "bounced", "dropped")
    } <= left
    assert not {"claimed", "sending"} & set(sends.values())
    assert unsaid == (0,)


def test_a_killed_demo_ends_as_an_undisturbed_one(killed: Path, undisturbed: Path) -> None:
    # Send ids are hashes under each home's own key, so people and subjects are compared.
    def mails(home: Path) -> Counter[tuple[str, str]]:
        return Counter((line["to"], line["subject"]) for line in accepted(home))

    assert mails(killed) == mails(undisturbed)


def test_a_finished_demo_sends_nothing_when_it_runs_again(undisturbed: Path) -> None:
    before = (undisturbed / "fakegrid" / "accepted.jsonl").read_bytes()
    output = finish(undisturbed)
    assert "The customer base" in output
    assert (undisturbed / "fakegrid" / "accepted.jsonl").read_bytes() == before


def test_holdout_accounts_got_no_mail(undisturbed: Path) -> None:
    with sqlite3.connect(f"file:{undisturbed / 'ledger.sqlite3'}?mode=ro", uri=True) as ledger:
        arms = Counter(
            arm for (arm,) in ledger.execute("select e.arm from sends as s join enrollments as e using (enrollment_id)")
        )
        enrolled = dict(ledger.execute("select arm, count(*) from enrollments group by arm").fetchall())
    assert set(arms) == {"treatment"}
    assert enrolled["holdout"] > 0


def test_what_people_must_not_see_is_nowhere_but_in_the_ledger(undisturbed: Path) -> None:
    """No address in snapshots, exports, reports or data docs; the inbox page is the sandbox's own."""
    address = accepted(undisturbed)[0]["to"].encode()
    searched = 0
    for folder in ("snapshots", "ledger_export", "reports", "data_docs", "logs"):
        for path in (undisturbed / folder).rglob("*"):
            if path.is_file() and path.name != "inbox.html":
                searched += 1
                assert address not in path.read_bytes(), path
    assert searched > 10


def test_the_pages_open_in_a_browser_and_fetch_nothing(undisturbed: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chromium is not installed")
    from playwright.sync_api import sync_playwright

    pages = [undisturbed / "reports" / name for name in ("value-report.html", "inbox.html")]
    pages += [undisturbed / "data_docs" / "index.html", *(undisturbed / "reports").glob("account-*.html")]
    assert len(pages) > 3
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
        )
        for path in pages:
            page = browser.new_page()
            asked: list[str] = []
            trouble: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("pageerror", lambda error, trouble=trouble: trouble.append(str(error)))
            page.on(
                "console", lambda line, trouble=trouble: trouble.append(line.text) if line.type == "error" else None
            )
            page.goto(path.as_uri())
            assert page.title(), path
            assert page.locator("h1").first.is_visible(), path
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
                f"{path} scrolls sideways"
            )
            assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == [], path
            assert trouble == [], path
        browser.close()


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep me")
    done = subprocess.run(
        [sys.executable, str(WORLD), str(tmp_path), "--fresh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is no demo's home" in done.stdout
    assert (tmp_path / "precious.txt").read_text() == "keep me"

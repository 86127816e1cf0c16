"""The command line as a person meets it: one clear line, the right exit code, never a traceback."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from uptake.adapters.key_ring import open_key_ring

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def uptake(tmp_path: Path) -> Run:
    return runner(tmp_path / "home")


def runner(home: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("UPTAKE_", "SENDGRID_"))}
        return subprocess.run(
            [sys.executable, "-m", "uptake", *arguments],
            env={**clean, "UPTAKE_HOME": str(home), "NO_COLOR": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def refused(done: subprocess.CompletedProcess[str], *, code: int, says: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_wrong_option_is_wrong_use(uptake: Run) -> None:
    done = uptake("tick", "--sideways")
    assert done.returncode == 2
    assert "--sideways" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_key_is_one_line_and_decides_nothing(uptake: Run, tmp_path: Path) -> None:
    refused(uptake("tick"), code=2, says="SENDGRID_API_KEY is not set")
    assert not (tmp_path / "home" / "ledger.sqlite3").exists()


def test_a_foreign_ledger_is_one_line_and_is_left_as_it_was(uptake: Run, tmp_path: Path) -> None:
    path = tmp_path / "home" / "ledger.sqlite3"
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("create table somebody_elses (x)")
    before = path.read_bytes()
    refused(uptake("status"), code=1, says="ledger.sqlite3")
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all, only some text that is long enough" * 20)
    refused(uptake("status"), code=1, says="ledger.sqlite3")


def test_a_locked_ledger_is_one_line(uptake: Run, tmp_path: Path) -> None:
    assert uptake("status").returncode == 0
    with sqlite3.connect(tmp_path / "home" / "ledger.sqlite3") as other:
        other.execute("begin exclusive")
        refused(uptake("pause", "--all", "--reason", "test", "--by", "ana"), code=1, says="lock")


def test_a_broken_key_ring_is_one_line(uptake: Run, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "keys.json").write_text("{")
    refused(uptake("status"), code=2, says="keys.json")


def test_a_raw_folder_that_is_not_there_is_one_line(uptake: Run, tmp_path: Path) -> None:
    refused(uptake("refresh", "--raw", str(tmp_path / "nowhere")), code=1, says="nowhere")


def test_a_source_nobody_knows_is_one_line(uptake: Run, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    refused(uptake("refresh", "--source", "martian", "--raw", str(tmp_path / "raw")), code=1, says="martian")


def test_without_a_snapshot_nothing_can_be_planned(uptake: Run) -> None:
    refused(uptake("plan", "feature-breadth"), code=1, says="uptake refresh")


def test_a_plan_that_does_not_exist_cannot_be_approved(uptake: Run) -> None:
    refused(uptake("approve", "no-such-plan", "--by", "ana"), code=1, says="no-such-plan")


def test_pausing_needs_to_know_what(uptake: Run) -> None:
    refused(uptake("pause", "--reason", "test", "--by", "ana"), code=2, says="--all")
    refused(uptake("pause", "no-such", "--reason", "test", "--by", "ana"), code=2, says="no-such")
    refused(uptake("stop", "--account", "ghost", "--reason", "test", "--by", "ana"), code=2, says="ghost")
    refused(uptake("approve", "some-plan"), code=2, says="--within-limits")


def test_playbooks_in_order_are_said_to_be(uptake: Run) -> None:
    done = uptake("check")
    assert done.returncode == 0, done.stderr
    assert "playbooks are in order" in done.stdout


def test_a_playbook_out_of_order_is_refused_with_file_and_line(uptake: Run, tmp_path: Path, root: Path) -> None:
    import shutil

    shutil.copytree(root / "playbooks", tmp_path / "playbooks")
    path = tmp_path / "playbooks" / "feature-breadth" / "playbook.yml"
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("holdout:"))
    lines[number - 1] = "holdoutt: 40%"
    path.write_text("\n".join(lines))
    done = uptake("check", UPTAKE_PLAYBOOKS_DIR=str(tmp_path / "playbooks"))
    assert done.returncode == 1
    assert f"feature-breadth/playbook.yml:{number}" in done.stderr
    assert "holdout" in done.stderr
    assert "Traceback" not in done.stderr


def test_lift_of_a_file(uptake: Run, shared_data: Path) -> None:
    done = uptake(
        "lift", str(shared_data / "hillstrom" / "hillstrom.csv.gz"), "--arm", "segment", "--control", "No E-Mail",
        "--outcome", "visit", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [arm["arm"] for arm in document["arms"]] == ["Mens E-Mail", "Womens E-Mail"]
    assert document["arms"][0]["lift_abs"] == pytest.approx(0.07659, abs=1e-5)
    assert document["control"]["n"] == 21_306
    assert document["srm"] == {"pvalue": pytest.approx(0.904, abs=0.001), "alarm": False}
    assert set(document["arms"][0]) == {
        "arm", "n", "mean", "lift_abs", "lift_rel", "ci_lower", "ci_upper", "se", "pvalue",
    }  # fmt: skip


def test_a_lift_of_nothing_is_wrong_use(uptake: Run) -> None:
    refused(
        uptake("lift", "nowhere.csv", "--arm", "a", "--control", "b", "--outcome", "c"),
        code=2,
        says="nowhere.csv is not a file",
    )


def test_a_folder_nobody_mapped_is_profiled_with_lines_to_paste(uptake: Run, tmp_path: Path) -> None:
    folder = tmp_path / "our log"
    folder.mkdir()
    lines = [
        {"ts": 1_772_359_200_000 + n, "userId": f"u{n % 3}", "page": "Home", "email": "ana@x.example"}
        for n in range(30)
    ]
    (folder / "a.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = uptake("inspect", str(folder))
    assert done.returncode == 0, done.stderr
    assert "\nour_log,home,Home,Home,,3,1.0,,,1,\n" in done.stdout
    assert "\n  occurred_at: {column: ts, unit: milliseconds}\n" in done.stdout
    assert "ana@" not in done.stdout
    document = json.loads(uptake("inspect", str(folder), "--json").stdout)
    assert document["mapped"]["events"] == 30
    refused(uptake("inspect", "nowhere"), code=2, says="no source, file or folder 'nowhere'; the sources are")
    refused(uptake("inspect", str(folder), "--raw", str(folder)), code=2, says="--raw goes with a source")


@pytest.mark.slow
@pytest.mark.real_data
def test_a_source_is_profiled_by_its_own_mapping(uptake: Run, shared_data: Path) -> None:
    done = uptake("inspect", "gharchive", "--raw", str(shared_data / "gharchive"), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["mapped"]["events"], found["mapped"]["count_users"], found["mapped"]["count_accounts"]) == (
        7_702, 3_648, 3_655,
    )  # fmt: skip
    assert len(found["events"]) == 18
    assert all(event["features"] for event in found["events"])
    assert found["proposed_catalogue_rows"] == []
    assert {oddity["kind"]: oddity["count"] for oddity in found["oddities"]}["users in several accounts"] == 316


@pytest.mark.slow
@pytest.mark.real_data
def test_what_a_refresh_counts_as_friction_is_proposed_for_no_feature(uptake: Run, shared_data: Path) -> None:
    done = uptake("inspect", "sparkify", "--raw", str(shared_data / "sparkify"), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {event["name"]: event["friction"] for event in found["events"] if event["friction"]} == {"Error": "error"}
    assert [line for line in found["proposed_catalogue_rows"] if "Error" in line] == []


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> tuple[Run, dict[str, object]]:
    """One hour of GitHub's archive, refreshed once."""
    run = runner(tmp_path_factory.mktemp("github"))
    done = run("refresh", "--source", "gharchive", "--raw", str(shared_data / "gharchive"), "--json")
    assert done.returncode == 0, done.stderr
    return run, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.real_data
def test_an_hour_of_github_passes_the_gate_with_its_published_counts(github: tuple[Run, dict[str, object]]) -> None:
    _, result = github
    assert result == {
        "lines": 7_702,
        "events": 7_702,
        "duplicates": 0,
        "quarantined": 0,
        "unattributed": 0,
        "unmapped_events": {},
        "accounts": 3_655,
        "users": 3_648,
        "features": result["features"],
        "snapshot_id": result["snapshot_id"],
        "gate": "passed",
        "reasons": [],
    }
    assert str(result["snapshot_id"]).startswith("20150101T0059")


@pytest.mark.slow
@pytest.mark.real_data
def test_an_hour_of_github_can_be_planned_and_previewed(github: tuple[Run, dict[str, object]]) -> None:
    run, _ = github
    planned = run("plan", "github-next-function", "--json")
    assert planned.returncode == 0, planned.stderr
    told = json.loads(planned.stdout)
    plan = told["plan"]
    assert plan["count_accounts"] > 100
    assert set(plan["summary"]["arms"]) == {"holdout", "treatment"}
    shown = run("preview", "github-next-function")
    assert shown.returncode == 0, shown.stderr
    assert "https://learn.example.com/guides/" in shown.stdout
    assert "{{" not in shown.stdout
    contact = told["contacts"][0]["contact_id"]
    explained = run("explain", contact, "github-next-function")
    assert explained.returncode == 0, explained.stderr
    assert contact in explained.stdout.replace("\n", "")


@pytest.mark.slow
def test_a_malformed_line_is_quarantined_and_counted(tmp_path: Path, shared_data: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = gzip.decompress((shared_data / "gharchive" / "2015-01-01-0.json.gz").read_bytes()).splitlines(keepends=True)
    (raw / "hour.json").write_bytes(
        b"".join([*lines[:4000], b'{"id": "cut off', b"\n", b"\xff\xfe not text\n", *lines[4000:]])
    )
    run = runner(tmp_path / "home")
    done = run("refresh", "--source", "gharchive", "--raw", str(raw), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["lines"], result["events"], result["quarantined"]) == (7_704, 7_702, 2)


def test_a_mail_service_without_tls_is_one_line(uptake: Run, tmp_path: Path) -> None:
    open_key_ring(tmp_path / "home")
    done = uptake("tick", UPTAKE_SENDGRID_BASE_URL="http://mail.example.com", SENDGRID_API_KEY="SG.x")
    refused(done, code=2, says="https")


def test_without_a_snapshot_a_tick_is_held(uptake: Run) -> None:
    refused(
        uptake("tick", SENDGRID_API_KEY="SG.x", UPTAKE_ENVIRONMENT="production"),
        code=1,
        says="HELD, there is no snapshot yet",
    )


def test_a_person_is_forgotten_and_told_of_by_address(uptake: Run, tmp_path: Path) -> None:
    (tmp_path / "home" / "raw").mkdir(parents=True)
    contacts = tmp_path / "home" / "raw" / "contacts.ndjson"
    contacts.write_text('{"account_id":"a","user_id":"u","email":"ann@customer.example","full_name":"Ann"}\n')
    away = {"UPTAKE_SENDGRID_BASE_URL": "http://127.0.0.1:9", "SENDGRID_API_KEY": "SG.x"}
    done = uptake("forget", "ann@customer.example", "--by", "Grace", **away)
    refused(done, code=1, says="not everything is forgotten")
    assert "SendGrid: not asked: SendGrid cannot be reached" in done.stdout
    assert "customer" not in done.stdout + done.stderr + contacts.read_text()
    known = uptake("export", "ann@customer.example")
    assert [row["requested_by"] for row in json.loads(known.stdout)["erasures"]] == ["Grace"]


@pytest.mark.slow
@pytest.mark.real_data
def test_an_unreachable_mail_service_is_one_line_and_nothing_is_lost(github: tuple[Run, dict[str, object]]) -> None:
    run, _ = github
    # The archive's own time: a Thursday, inside the window of people in UTC, the snapshot twelve hours old.
    planned = run("plan", "github-next-function", "--now", "2015-01-01T12:00:00", "--json")
    plan_id = json.loads(planned.stdout)["plan"]["plan_id"]
    assert run("approve", plan_id, "--by", "ana").returncode == 0
    nobody = {"UPTAKE_SENDGRID_BASE_URL": "http://127.0.0.1:9", "SENDGRID_API_KEY": "SG.x"}
    done = run("tick", "--now", "2015-01-01T13:00:00", **nobody)
    refused(done, code=1, says="HELD")
    status = json.loads(run("status", "--json").stdout)
    assert {row["status"] for row in status["sends"]} == {"planned"}
    assert sum(row["count_sends"] for row in status["sends"]) > 100

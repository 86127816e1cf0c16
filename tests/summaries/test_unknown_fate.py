"""Messages of unknown fate are listed so that a person can order something about them."""

import io
from datetime import UTC, datetime

from rich.console import Console
from rich.markdown import Markdown

from uptake.summaries.unknown_fate import held_summary

SEND, CONTACT = "59e2038acde24bacebc408264011f680", "5dff14dbaf62236b3c525b40e4a0d6f5"


def printed(rows) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(Markdown(held_summary(rows)))
    return console.file.getvalue()


def stuck(status: str):
    return {
        "send_id": SEND,
        "playbook": "lapsed-feature",
        "stage_key": "back",
        "account_id": "acct-0004",
        "contact_id": CONTACT,
        "status": status,
        "detail": "no whole answer from SendGrid (ReadError)",
        "sending_at": datetime(2026, 4, 16, 9, tzinfo=UTC),
    }


def test_the_ids_that_release_and_explain_take_are_whole_on_a_narrow_terminal():
    told = printed([stuck("held")])
    assert SEND in told
    assert CONTACT in told
    assert "uptake release" in told


def test_where_there_are_none_nobody_is_told_to_release_any():
    assert "release" not in printed([])

from __future__ import annotations

import html
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from uptake.web_internal import create_internal_app


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


async def get(home: Path, path: str, *, host: str = "127.0.0.1:8026", has_inbox: bool = False) -> httpx.Response:
    app = create_internal_app(home, inbox=PlainTextResponse("inbox") if has_inbox else None)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}", follow_redirects=True) as client:
        return await client.get(path)


def put(home: Path, path: str, content: str = "hello") -> None:
    (home / path).parent.mkdir(parents=True, exist_ok=True)
    (home / path).write_text(content)


async def test_the_overview_links_to_what_is_there(tmp_path: Path) -> None:
    put(tmp_path, "reports/value.html")
    page = (await get(tmp_path, "/")).text
    assert '<h2><a href="/reports/">' in page
    assert '<h2><a href="/data-docs/">' not in page
    assert "uptake refresh" in page


@pytest.mark.parametrize("path", ["/reports/", "/data-docs/", "/dbt-docs/", "/data-docs", "/reports/x.html"])
async def test_a_page_that_was_not_made_yet_names_the_command_that_makes_it(tmp_path: Path, path: str) -> None:
    answer = await get(tmp_path, path)
    assert answer.status_code == 404
    assert "This command makes them" in answer.text


async def test_the_command_that_makes_the_dbt_docs_works_from_the_top_of_the_checkout(tmp_path: Path) -> None:
    page = (await get(tmp_path / "a home", "/dbt-docs/")).text
    command = html.unescape(page.split("<code>")[1].split("</code>")[0])
    assert command == f"cd dbt_project && dbt docs generate --static --target-path '{tmp_path}/a home/dbt_docs'"


async def test_reports_are_listed_and_served(tmp_path: Path) -> None:
    put(tmp_path, "reports/value-report.html", "<h1>worth it</h1>")
    put(tmp_path, "reports/account-acct-7.html", "seven")
    put(tmp_path, "reports/inbox.html", "mails")
    put(tmp_path, "reports/accounts/acme & co.html", "acme")
    page = (await get(tmp_path, "/reports/")).text
    assert page.index(">value report<") < page.index(">account acct-7<"), "the value report comes first"
    assert "inbox.html" not in page, "the inbox has a room of its own"
    assert 'href="/reports/value-report.html">value report<' in page
    assert 'href="/reports/accounts/acme%20%26%20co.html"' in page
    assert "worth it" in (await get(tmp_path, "/reports/value-report.html")).text
    assert (await get(tmp_path, "/reports/accounts/acme%20%26%20co.html")).text == "acme"
    assert (await get(tmp_path, "/reports/nothing.html")).status_code == 404
    put(tmp_path, "reports/index.html", "front page")
    assert (await get(tmp_path, "/reports/")).text == "front page"


async def test_docs_are_found_where_their_tool_put_them(tmp_path: Path) -> None:
    put(tmp_path, "data_docs/local_site/index.html", "data docs")
    put(tmp_path, "dbt_docs/index.html", "dbt docs")
    assert (await get(tmp_path, "/data-docs/")).text == "data docs"
    assert (await get(tmp_path, "/dbt-docs/")).text == "dbt docs"
    put(tmp_path, "data_docs/index.html", "top")
    assert (await get(tmp_path, "/data-docs/")).text == "top"


async def test_nothing_outside_its_folders_is_served(tmp_path: Path) -> None:
    put(tmp_path, "keys.json", "secret")
    put(tmp_path, "reports/value.html")
    (tmp_path / "reports" / "link.html").symlink_to(tmp_path / "keys.json")
    for path in (
        "/reports/../keys.json",
        "/reports/%2e%2e/keys.json",
        "/reports//keys.json",
        "/keys.json",
        "/reports/link.html",
    ):
        answer = await get(tmp_path, path)
        assert (answer.status_code, "secret" in answer.text) == (404, False), path


async def test_there_is_no_inbox_in_production(tmp_path: Path) -> None:
    assert (await get(tmp_path, "/inbox/")).status_code == 404
    assert "Inbox" not in (await get(tmp_path, "/")).text
    assert (await get(tmp_path, "/inbox", has_inbox=True)).text == "inbox"
    assert '<a href="/inbox/"' in (await get(tmp_path, "/", has_inbox=True)).text


async def test_a_request_for_another_host_is_refused(tmp_path: Path) -> None:
    assert (await get(tmp_path, "/", host="evil.example")).status_code == 400
    assert (await get(tmp_path, "/", host="localhost:1")).status_code == 200

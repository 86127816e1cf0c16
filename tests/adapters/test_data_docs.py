from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from uptake.adapters.data_docs import finish
from uptake.ports import Check

AS_OF = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
PAGE = """<html><head>
<link rel="stylesheet" href="https://cdn.example.invalid/a.css">
<script src="https://cdn.example.invalid/a.js"></script>
</head><body><img src="https://cdn.example.invalid/logo.png"><a href="https://example.invalid">GX</a>
<a href="../../index.html">Home</a><p>kept</p>
<script>track("https://example.invalid")</script><footer>newsletter</footer></body></html>"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    page = tmp_path / "validations" / "dim_accounts" / "candidate" / "t" / "warehouse-dim_accounts.html"
    page.parent.mkdir(parents=True)
    page.write_text(PAGE)
    return tmp_path


def test_pages_load_nothing_from_elsewhere_and_run_no_script(site: Path) -> None:
    finish(site, [], as_of=AS_OF)
    (page,) = (site / "validations").rglob("*.html")
    text = page.read_text()
    assert "https://" not in text
    assert "<script" not in text
    assert "newsletter" not in text
    assert "<p>kept</p>" in text
    assert '<a href="../../index.html">Home</a>' in text
    (style,) = re.findall(r'href="([^"]*uptake\.css)"', text)
    assert (page.parent / style).resolve() == site / "uptake.css"


def test_the_front_page_shows_what_holds_first_and_links_the_marts(site: Path) -> None:
    checks = [
        Check(name="gate:freshness", status="passed", severity="critical"),
        Check(name="gx:dim_features:x", status="failed", severity="warning", detail="odd"),
        Check(name="gx:dim_accounts:y", status="failed", severity="critical", detail="3 rows <b>; expected none",
              rows=("account_id=a1", "account_id=<i>")),
    ]  # fmt: skip
    text = finish(site, checks, as_of=AS_OF).read_text()
    assert "1 of 3 checks hold" in text
    assert text.index("gx:dim_accounts:y") < text.index("gx:dim_features:x") < text.index("gate:freshness")
    assert "3 rows &lt;b&gt;; expected none<br>account_id=a1<br>account_id=&lt;i&gt;</td>" in text
    (link,) = re.findall(r'<a href="([^"]+)">gx:dim_accounts:y</a>', text)
    assert (site / link).is_file()

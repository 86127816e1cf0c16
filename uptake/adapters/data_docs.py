"""GX's data docs made fit for a page without a network: no script, no foreign address, a front page of our own."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from uptake.ports import Check

# GX's pages load a dozen scripts, styles and a logo from elsewhere; offline its front page stays empty without them.
_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)
_FOREIGN = re.compile(r"""<(?:link|img)\b[^>]*(?:href|src)\s*=\s*["']https?://[^>]*>""", re.IGNORECASE)
_FOREIGN_LINK = re.compile(r"""<a\b[^>]*href\s*=\s*["']https?://[^>]*>(.*?)</a>""", re.DOTALL | re.IGNORECASE)
_IMPORT = re.compile(r"""@import[^;]*https?://[^;]*;""", re.IGNORECASE)
_FOOTER = re.compile(r"<footer\b.*?</footer>", re.DOTALL | re.IGNORECASE)

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #8884;
         overflow-wrap: anywhere; }
.checks :is(td, th):nth-child(-n+2) { white-space: nowrap; }
.collapse { display: block !important; }
.fa-check-circle::before { content: "passed"; color: #1a7f37; font-style: normal; }
.fa-times::before, .fa-times-circle::before { content: "failed"; color: #c4320a; font-style: normal; }
.fa-exclamation-triangle::before { content: "errored"; color: #c4320a; font-style: normal; }
nav ol, .breadcrumb, .nav { list-style: none; padding: 0; }
input[type=radio], .btn, .copy-edit-command { display: none; }
.blocks td:first-child, .failed td:first-child { color: #c4320a; font-weight: 600; }
"""


def finish(site: Path, checks: Sequence[Check], *, as_of: datetime) -> Path:
    """Take everything foreign out of a built site and write its front page; return that page."""
    (site / "uptake.css").write_text(_STYLE)
    for page in site.rglob("*.html"):
        depth = len(page.relative_to(site).parts) - 1
        page.write_text(_local(page.read_text(), style=f"{'../' * depth}uptake.css"))
    for style in site.rglob("*.css"):
        style.write_text(_IMPORT.sub("", style.read_text()))
    index = site / "index.html"
    index.write_text(_front_page(site, checks, as_of))
    return index


def _local(page: str, *, style: str) -> str:
    """Return one of GX's pages without scripts and without anything that is loaded from elsewhere."""
    page = _FOOTER.sub("", _FOREIGN.sub("", _SCRIPT.sub("", page)))
    page = _FOREIGN_LINK.sub(r"\1", page)
    return page.replace("</head>", f'<link rel="stylesheet" href="{style}">\n</head>', 1)


def _front_page(site: Path, checks: Sequence[Check], as_of: datetime) -> str:
    """Return a page with every check, what did not pass first, each mart's linked to what GX saw of it."""
    shown = [page.relative_to(site) for page in sorted((site / "validations").rglob("*.html"))]
    pages = {page.parts[1]: page for page in shown}  # validations/<mart>/<run>/<time>/<batch>.html
    ranked = sorted(checks, key=lambda check: (not check.blocks, check.status in ("passed", "baseline"), check.name))
    held = sum(check.blocks for check in checks)
    rows = "\n".join(_row(check, pages) for check in ranked)
    verdict = f"{held} of {len(checks)} checks hold the snapshot" if held else f"none of {len(checks)} checks holds it"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data docs</title>
<link rel="stylesheet" href="uptake.css">
</head>
<body>
<h1>Data docs</h1>
<p>Candidate marts as of {as_of:%Y-%m-%d %H:%M} UTC: {verdict}. These are the tests of dbt, the suites, the
comparisons with earlier snapshots, and what the load counted.</p>
<table class="checks">
<thead><tr><th>Status</th><th>Severity</th><th>Check</th><th>Found and expected</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def _row(check: Check, pages: dict[str, Path]) -> str:
    mart = next((part for part in check.name.split(":") if part in pages), None)
    name = html.escape(check.name)
    link = f'<a href="{html.escape(pages[mart].as_posix())}">{name}</a>' if mart else name
    kind = "blocks" if check.blocks else "failed" if check.status not in ("passed", "baseline") else "passed"
    cells = (check.status, check.severity)
    texts = "".join(f"<td>{html.escape(text)}</td>" for text in cells)
    found = "<br>".join(html.escape(text) for text in (check.detail, *check.rows))
    return f'<tr class="{kind}">{texts}<td>{link}</td><td>{found}</td></tr>'

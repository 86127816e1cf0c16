"""Renders the pages of `web_internal` and the sandbox's inbox: inline styles, no script, nothing fetched."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

#: Sent with every page: even hostile text in it could run nothing, load nothing and frame nothing but itself.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def render_page(template: str, **values: Any) -> str:
    """Render one template of `pages/`; every value is escaped."""
    return _environment().get_template(template).render(values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("uptake.adapters", "pages")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    styles = [loader.get_source(environment, name)[0] for name in ("_style.css", "_internal.css")]
    environment.globals["style"] = Markup("\n".join(styles))  # noqa: S704 - our own files
    return environment

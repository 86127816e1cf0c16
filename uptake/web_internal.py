"""Pages for the people who run Uptake: reports, data docs, dbt docs and, in a sandbox, the inbox.

Served on loopback: there is no login. A request that names another host is refused, so that no web page elsewhere can
read them through a name that points here.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from uptake.adapters.internal_pages import HEADERS, render_page


@dataclass(frozen=True, kw_only=True)
class _Room:
    path: str
    name: str
    text: str
    folder: Path
    command: str  # what fills the folder
    sign: str = "**/*.html"  # what lies in the folder once there is something to see

    @property
    def is_there(self) -> bool:
        return next(self.folder.glob(self.sign), None) is not None


#: (path, name) of every page of a sandbox, in the order in which they are linked.
SANDBOX_ROOMS = (
    ("/reports/", "Reports"),
    ("/inbox/", "Inbox"),
    ("/data-docs/", "Data docs"),
    ("/dbt-docs/", "dbt docs"),
)


def create_internal_app(home: Path, *, inbox: ASGIApp | None = None) -> Starlette:
    """Build the app over one `$UPTAKE_HOME`; folders may appear while it runs.

    Args:
        home: `$UPTAKE_HOME`
        inbox: The sandbox's inbox (`uptake.sandbox.inbox.create_inbox_app`), absent in production
    """
    rooms = [room for room in _rooms(home) if inbox is not None or room.path != "/inbox/"]
    links = [(room.path, room.name) for room in rooms]
    reports = rooms[0]

    def page(template: str, here: str, *, status: int = 200, **values: object) -> Response:
        content = render_page(template, rooms=links, here=here, **values)
        return HTMLResponse(content, status_code=status, headers=HEADERS)

    def index(_request: Request) -> Response:
        return page("index.html.j2", "/", cards=rooms)

    def report_list(_request: Request) -> Response:
        if (reports.folder / "index.html").is_file():
            return FileResponse(reports.folder / "index.html")
        if not reports.is_there:
            raise HTTPException(404)
        return page("files.html.j2", reports.path, title=reports.name, folders=_html_files(reports.folder))

    def not_found(request: Request, raised: Exception) -> Response:
        assert isinstance(raised, HTTPException)
        room = next((room for room in rooms if request.url.path.startswith(room.path)), None)
        if room is not None and not room.is_there:
            title, command = f"No {room.name} yet", room.command
        else:
            title, command = "Not found", None
        return page(
            "absent.html.j2", room.path if room else "", status=raised.status_code, title=title, command=command
        )

    routes: list[BaseRoute] = [Route("/", index), Route("/reports/", report_list)]
    for room in rooms:
        routes.append(Mount(room.path.rstrip("/"), inbox if room.path == "/inbox/" else _Folder(room)))
    return Starlette(
        routes=routes,
        exception_handlers={HTTPException: not_found},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


def _rooms(home: Path) -> list[_Room]:
    docs = home.resolve() / "dbt_docs"
    return [
        _Room(
            path="/reports/",
            name="Reports",
            text="What the work was worth: the value report, and a page for each account.",
            folder=home / "reports",
            command="uptake report",
        ),
        _Room(
            path="/inbox/",
            name="Inbox",
            text="Every mail the simulated people were sent, as they see it, and what they did with it.",
            folder=home / "fakegrid",
            command="make demo",
            sign="accepted.jsonl",
        ),
        _Room(
            path="/data-docs/",
            name="Data docs",
            text="Which expectations the data met before anything was sent.",
            folder=home / "data_docs",
            command="uptake refresh",
        ),
        _Room(
            path="/dbt-docs/",
            name="dbt docs",
            text="Every model and column, where it comes from, what it means and which playbooks read it.",
            folder=docs,
            # dbt works in its project's folder, so the home is named in full.
            command=f"cd dbt_project && dbt docs generate --static --target-path {shlex.quote(str(docs))}",
        ),
    ]


class _Folder:
    """Serves a folder of pages; the folder may be missing, and its first page may lie deeper than its top."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self._files = StaticFiles(directory=room.folder, html=True, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._room.folder.is_dir():
            raise HTTPException(404)
        if self._files.get_path(scope) == "." and not (self._room.folder / "index.html").is_file():
            first = min(self._room.folder.glob("**/index.html"), key=lambda path: (len(path.parts), path), default=None)
            if first is None:
                raise HTTPException(404)
            target = self._room.path + first.relative_to(self._room.folder).as_posix()
            await RedirectResponse(target)(scope, receive, send)
            return
        await self._files(scope, receive, send)


def _html_files(folder: Path) -> list[tuple[str, Sequence[str]]]:
    """Return (subfolder, page names) of every folder that holds pages, the top and the value report first.

    The sandbox's inbox has a room of its own.
    """
    names: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.html"), key=lambda path: (path.name != "value-report.html", path)):
        if path.name == "inbox.html":
            continue
        within = path.relative_to(folder)
        names.setdefault("" if within.parent == Path() else within.parent.as_posix(), []).append(within.name)
    return sorted(names.items())

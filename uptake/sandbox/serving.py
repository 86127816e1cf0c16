"""Runs an ASGI app on a real loopback socket in a background thread, with a clean start and stop."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

import uvicorn
from starlette.types import ASGIApp

from uptake.errors import SettingsError

_POLL_SECONDS = 0.005
_START_SECONDS = 20.0


class Serving:
    """One app being served. Use it as a context manager, or call `start` and `stop`.

    Port 0 takes a free port; `url` tells which. Requests are never logged: their paths may carry tokens.
    """

    def __init__(self, app: ASGIApp, *, port: int = 0, host: str = "127.0.0.1") -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port being listened on."""
        return self._port

    @property
    def url(self) -> str:
        """The address to reach the app at, without a slash at the end."""
        return f"http://{self._host}:{self._port}"

    def start(self) -> Serving:
        """Listen, and return once the app answers. Raises SettingsError when the port is taken."""
        self._socket = _listen(self._host, self._port)
        self._port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._app, http="h11", ws="none", log_level="warning", access_log=False, timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name=f"serving-{self._port}", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise SettingsError(f"the app at {self.url} did not start; its own message stands above")
            time.sleep(_POLL_SECONDS)
        return self

    def stop(self) -> None:
        """Finish requests under way and release the port. Stopping twice does nothing."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._server = self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Serving:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(app: ASGIApp, *, port: int = 0) -> Serving:
    """Return an app to be served on 127.0.0.1; use it as a context manager."""
    return Serving(app, port=port)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}; stop what uses it") from error
    listener.listen(128)  # connections queue from here on, also while the app is still starting
    return listener

"""How a flow run ends: in one line that a person understands, and never in a traceback for what was said on purpose."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Completed, Failed

from uptake.errors import Held, UptakeError

_LONGEST = 1000  # characters; a state's message is one line on a page, the artifact holds the rest


def done(message: str) -> State[Any]:
    """Return the end of a run that did what it was for."""
    get_run_logger().info(message)
    return Completed(message=_short(message))


def held(reasons: Sequence[str]) -> State[Any]:
    """Return the end of a run that worked and that something stands in the way of: a state named Held."""
    message = "; ".join(reasons)
    get_run_logger().warning("Held: %s", message)
    return Completed(name="Held", message=_short(message))


def refused(error: UptakeError) -> State[Any]:
    """Return the end of a run that was refused: Held when a gate or an approval is in between, otherwise Failed."""
    if isinstance(error, Held):
        return held([str(error)])
    logger = get_run_logger()
    logger.error(str(error))
    if isinstance(logger, logging.LoggerAdapter):
        logger.logger.addFilter(_is_news)
    return Failed(message=_short(str(error)))


def _is_news(record: logging.LogRecord) -> bool:
    """Drop the traceback that Prefect's engine logs of itself when a flow returns that it failed."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


def _short(message: str) -> str:
    return message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"

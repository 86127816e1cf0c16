"""What Great Expectations found of one expectation, as a check; and the name by which everything knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uptake.adapters.check_results import Severity, checked, shown, told
from uptake.ports import Check


def name_of(mart: str, kind: str, kwargs: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """Return the name of one expectation: tool, mart, type, and its rule or column."""
    return ":".join(str(part) for part in ("gx", mart, kind, meta.get("rule") or kwargs.get("column")) if part)


def named(relation: str, configuration: Any) -> str:
    """Return the name of an expectation that Great Expectations has built."""
    return name_of(relation, configuration.type, configuration.kwargs, configuration.meta or {})


def verdict(mart: str, one: Any, rows: tuple[str, ...]) -> Check:
    """Return one GX result as a check; `rows` tell a few that broke it by their ids."""
    configuration = one.expectation_config
    severity: Severity = "critical" if _severity(configuration) == "critical" else "warning"
    name = named(mart, configuration)
    if error := _exception(one.exception_info):
        return checked(name, "errored", told(error), severity)
    if one.success is True:
        return checked(name, "passed", "", severity)
    return checked(name, "failed", _found(one.result, configuration), severity, rows)


def _severity(configuration: Any) -> str:
    """Return an expectation's severity; one that names none is critical."""
    severity = getattr(configuration, "severity", None) or configuration.kwargs.get("severity") or "critical"
    return str(getattr(severity, "value", severity))


def _exception(info: Any) -> str | None:
    """Return the message of the exception GX met, in either of the two shapes it tells it."""
    if not info:
        return None
    for entry in [info] if "raised_exception" in info else info.values():
        if entry.get("raised_exception"):
            return str(entry.get("exception_message") or "GX raised an exception")
    return None


def _found(result: Mapping[str, Any], configuration: Any) -> str:
    """Say what was found and what was expected."""
    why = (configuration.meta or {}).get("why", "")
    bounds = {
        key: value
        for key, value in configuration.kwargs.items()
        if key in ("min_value", "max_value", "value_set", "column_set") and value is not None
    }
    wanted = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in bounds.items())
    if "unexpected_count" in result:
        found = f"{result['unexpected_count']} of {result['element_count']} rows"
        if samples := [shown(value) for value in result.get("partial_unexpected_list", ())]:
            found += f", like {', '.join(samples)}"
        return f"{found}; expected {wanted or 'none'}. {why}"
    if configuration.type == "unexpected_rows_expectation":
        return f"{result.get('observed_value')} rows; expected none. {why}"
    return f"found {shown(result.get('observed_value'))}; expected {wanted}. {why}"

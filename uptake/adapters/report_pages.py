"""Reports as single HTML files: inline styles and charts, no script, nothing fetched, equal input in equal bytes."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from uptake.adapters import charts
from uptake.domain.accounts import AccountPage
from uptake.domain.lift import Verdict
from uptake.domain.outcomes import PlaybookOutcome
from uptake.ports import ValueReport

_CHARTED_FEATURES = 24

_VERDICT_CLASS = {
    Verdict.TOO_EARLY.name: "early",
    Verdict.HELPS.name: "helps",
    Verdict.HARMS.name: "harms",
    Verdict.NOT_YET_PROVED.name: "unproved",
    Verdict.INVALID.name: "invalid",
}


class HtmlPages:
    """Renders reports; implements `ports.Pages`."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("uptake.adapters", "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        source, _, _ = self._environment.loader.get_source(self._environment, "_style.css")  # type: ignore[union-attr]
        self._environment.globals["style"] = Markup(source)  # noqa: S704

    def leadership(self, report: ValueReport, *, account_link: str | None) -> str:
        """Return the leadership page."""
        overview = report.overview
        lifts = [(o.playbook, o.lift.arms[0]) for o in report.outcomes if o.lift]
        bars = [
            (f.name, f.adopted_share, (f.count_accounts_entitled and _used(f) / f.count_accounts_entitled) or 0.0)
            for f in overview.features
        ]
        if len(bars) > _CHARTED_FEATURES:
            bars = bars[: _CHARTED_FEATURES // 2] + bars[-_CHARTED_FEATURES // 2 :]
        return self._environment.get_template("leadership.html.j2").render(
            overview=overview,
            median_breadth=statistics.median(overview.breadths) if overview.breadths else None,
            total_sent=sum(
                count
                for counts in report.sends.values()
                for status, count in counts.items()
                if status in ("accepted", "delivered", "bounced", "dropped")
            ),
            outcomes=report.outcomes,
            sentence=_sentence,
            verdict_class=_VERDICT_CLASS,
            lift_chart=_chart(
                charts.lift_intervals([(name, arm.lift_abs, arm.ci_lower, arm.ci_upper) for name, arm in lifts]),
                _name_of_lift_chart(lifts),
            )
            if lifts
            else None,
            breadth_chart=_chart(
                charts.breadth_histogram(overview.breadths), _name_of_breadth_chart(overview.breadths)
            ),
            time_chart=_chart(
                charts.share_over_time(report.over_time), "Line: share of paid functionality in use over time"
            )
            if len(report.over_time) > 1
            else None,
            feature_chart=_chart(
                charts.feature_bars(bars), "Bars: adopted share by feature; the same figures are in the table"
            ),
            sends=report.sends,
            send_statuses=_columns(report.sends),
            withheld=report.withheld,
            withheld_reasons=_columns(report.withheld),
            gate=report.gate,
            manifest=report.manifest,
            account_link=account_link,
        )

    def account(self, page: AccountPage, *, playbooks: Sequence[str]) -> str:
        """Return one account's page."""
        return self._environment.get_template("account.html.j2").render(
            page=page, playbooks=playbooks, letters={"adopted": "●", "tried": "○", "lapsed": "◐", "never": ""}
        )


def _used(feature: Any) -> int:
    used: int = feature.count_accounts_adopted + feature.count_accounts_tried + feature.count_accounts_lapsed
    return used


def _columns(table: Mapping[str, Mapping[str, int]]) -> list[str]:
    return sorted({name for counts in table.values() for name in counts})


def _sentence(outcome: PlaybookOutcome) -> str:
    """Return the finding in words a reader may repeat."""
    enrolled = sum(outcome.count_enrolled.values())
    closed = sum(outcome.count_closed.values())
    if outcome.lift is None:
        return f"{enrolled} accounts are in; {closed} windows have closed. There is nothing to compare yet."
    arm, control = outcome.lift.arms[0], outcome.lift.control
    taught = f"{arm.mean:.0%} of {arm.n} taught accounts reached the goal"
    held_out = f"{control.mean:.0%} of {control.n} held out"
    interval = f"{arm.ci_lower * 100:+.1f} to {arm.ci_upper * 100:+.1f}"
    numbers = f"{taught}, against {held_out}: {arm.lift_abs * 100:+.1f} points (95 % interval {interval})."
    match outcome.verdict:
        case Verdict.INVALID:
            return f"The arms are not as large as they were drawn, so no verdict is given. Found: {numbers}"
        case Verdict.NOT_YET_PROVED:
            return f"Not yet proved: the interval does not exclude chance. {numbers}"
        case Verdict.TOO_EARLY:
            still = f"{enrolled - closed} windows are" if enrolled - closed != 1 else "1 window is"
            return f"Too early: {still} still open. So far, {numbers}"
        case _:
            return numbers


def _name_of_breadth_chart(breadths: Sequence[float]) -> str:
    low = sum(breadth < 0.2 for breadth in breadths)
    return f"Histogram: {low} of {len(breadths)} accounts use less than 20 % of what they pay for"


def _name_of_lift_chart(lifts: Sequence[tuple[str, Any]]) -> str:
    return "Intervals: " + "; ".join(f"{name} {arm.lift_abs * 100:+.1f} points" for name, arm in lifts)


def _chart(svg: str, name: str) -> Markup:
    """Return the chart as one image with a name for those who cannot see it."""
    svg = re.sub(r'role="presentation" focusable="false"', 'aria-hidden="true" focusable="false"', svg, count=1)
    return Markup('<div role="img" aria-label="{}">').format(name) + Markup(svg) + Markup("</div>")  # noqa: S704

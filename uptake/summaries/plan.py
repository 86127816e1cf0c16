"""What a plan would do, in words: for the terminal, for Prefect's page and for a pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from uptake.domain.playbooks import Playbook
from uptake.domain.workspace import Approval
from uptake.operations.entering import limit_of, measured_by
from uptake.operations.gate import FRESH_FOR
from uptake.summaries.markdown import SHOWN, bullets, cell, count_accounts, decision, table, words

if TYPE_CHECKING:
    from uptake.operations.plan import PlanResult
    from uptake.ports import Plan


def plan_headline(result: PlanResult) -> str:
    """Say in one line what a plan would do."""
    plan = result.plan
    when = "" if plan.summary.get("opens_on") is None else f" on {plan.summary['opens_on']}"
    return (
        f"plan {plan.plan_id}: {count_accounts(plan.count_accounts)} with {plan.count_contacts:,} contacts would"
        f" enter{when}; nobody was mailed"
    )


def plan_summary(result: PlanResult) -> str:
    """Say who would enter, who would not and why, and what would be sent when."""
    plan, summary = result.plan, result.plan.summary
    playbook, rules = result.release.playbook, result.release.workspace.approval
    stages = [
        (key, "e-mail" if stage.email else "task", result.release.texts[key].subject if stage.email else stage.task)
        for key, stage in playbook.stages.items()
    ]
    days: dict[str, dict[str, int]] = {}
    for row in summary["sends_by_day"]:
        days.setdefault(row["day"], {})[row["stage_key"]] = row["count_sends"]
    keys = [key for key, kind, _ in stages if kind == "e-mail"]
    goal = playbook.goal
    return "\n\n".join(
        [
            f"# Plan of {cell(plan.playbook)}",
            f"**{count_accounts(plan.count_accounts)}** with {plan.count_contacts:,} contacts would enter, as of "
            f"{cell(datetime.fromisoformat(summary['as_of']))} UTC. Planning itself sends nothing.",
            *_opens(summary),
            *_stale(plan.planned_at - datetime.fromisoformat(summary["as_of"])),
            *_audience(summary),
            *([f"Checks had held this snapshot; it was {cell(summary['gate'])}."] if summary.get("gate") else []),
            table(
                ("arm", "accounts", "contacts"),
                [(words(arm), f"{n['accounts']:,}", f"{n['contacts']:,}") for arm, n in summary["arms"].items()],
                empty="Nobody would enter.",
            ),
            f"Holdout: {playbook.holdout:.0%} of accounts get nothing, so that the effect can be measured. "
            + (
                f"No goal, so no lift is reported: {cell(goal.none)}"
                if goal.within is None
                else f"Goal: the {goal.by} has {goal.reach} what it is taught, within {goal.within.days} days."
            ),
            *_balance(summary),
            *_first_tick(summary),
            *_provable(summary),
            *_edit(summary),
            *_since(summary),
            *_against(summary),
            "## Left out",
            table(
                ("reason", "accounts", "contacts"),
                [
                    (words(reason), f"{n['accounts']:,}", f"{n['contacts']:,}" if n["contacts"] else "all")
                    for reason, n in summary["left_out"].items()
                ],
                empty="Nobody who matches is left out.",
            ),
            f"Who they are, and who enters, line by line: `uptake plan {plan.playbook} --csv`.",
            "## First sends, by day",
            table(
                ("day", *keys),
                [(day, *(counts.get(key, 0) for key in keys)) for day, counts in sorted(days.items())],
                empty="No e-mail would be sent.",
            ),
            "## Stages",
            table(("stage", "kind", "subject or task"), stages),
            *_texts(result),
            "## If you approve it",
            _approval(plan, playbook, rules),
            "In Prefect: run the deployment again with the mode *approve and run* and your name (it plans anew, and"
            " approves what it finds then). On the command line, for exactly this plan:",
            f"```\nuptake approve {plan.plan_id} --by NAME\n```",
            f"Release `{plan.release_hash[:12]}`, plan `{plan.plan_hash[:12]}`, snapshot `{plan.snapshot_id}`.",
        ]
    )


def _texts(result: PlanResult) -> list[str]:
    """Show the texts as they were written; `preview` shows one as somebody gets it."""
    release = result.release
    written = {key: text.body for key, text in release.texts.items()} | dict(release.words)
    parts = [
        part for key in release.playbook.stages if key in written for part in (f"### {cell(key)}", _fence(written[key]))
    ]
    as_sent = f"As somebody gets them: `uptake preview {release.name} --stage STAGE --out mail.html`."
    return ["## Texts", as_sent, *parts] if parts else []


def _fence(text: str) -> str:
    """Return a text that is shown as it is written, whatever it holds."""
    ticks = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)
    return f"{ticks}\n{text.strip()}\n{ticks}"


def _opens(summary: Mapping[str, Any]) -> list[str]:
    """Say of which day a plan is, when that is not today."""
    if (day := summary.get("opens_on")) is None:
        return []
    return [f"**Its calendar is closed today**: this is its plan for {cell(day)}, by what is known today."]


def _audience(summary: Mapping[str, Any]) -> list[str]:
    """Say how many match in all, and whether that is another audience than before."""
    if (count := summary.get("audience")) is None:
        return []
    told = f"Its audience: {count_accounts(count)} match, those who are in or left out among them."
    if (why := summary.get("audience_held")) is not None:
        told += f" **Nobody enters before this plan is approved:** {cell(why)}."
    return [told]


def _approval(plan: Plan, playbook: Playbook, rules: Approval) -> str:
    """Say how far the approval of a plan reaches."""
    limit = limit_of(plan, playbook, rules.tolerance)
    found = "this plan" if measured_by(plan) == plan.count_accounts else "the plan approved before"
    if playbook.enter == "manual":
        return f"For {rules.expires.days} days people may take accounts in by hand; nobody enters by itself."
    if limit == 0:
        return (
            "**This plan takes nobody in, and its approval would not either:** whoever enters at a later tick would be"
            " more than planned, and is held. An earlier approval that still takes people in is better left alone."
        )
    if playbook.only_new:
        return (
            f"Whoever comes to match enters, for {rules.expires.days} days and at every tick up to {limit:,} accounts;"
            " beyond that nobody enters, and a new plan is needed."
        )
    return (
        f"Its release may take accounts in for {rules.expires.days} days, at every tick up to {limit:,} of them (what"
        f" {found} found, and a tolerance of {rules.tolerance:.0%}); beyond that nobody enters, and a new plan is"
        " needed."
    )


def _stale(age: timedelta) -> list[str]:
    """Say at once what a tick would say later."""
    if age <= FRESH_FOR:
        return []
    hours = int(FRESH_FOR / timedelta(hours=1))
    return [f"**Nothing of it would happen now**: the data are {age.days} days old; mail needs data of {hours} hours."]


def _balance(summary: Mapping[str, Any]) -> list[str]:
    """Show how the draw fell on each kind of account; a plan that was stored before knows nothing of it."""
    strata: Mapping[str, Mapping[str, int]] = summary.get("balance", {})
    if not strata:
        return []
    arms = sorted({arm for counts in strata.values() for arm in counts}, reverse=True)
    rows = [
        (cell(stratum), *(f"{counts.get(arm, 0):,} ({counts.get(arm, 0) / sum(counts.values()):.0%})" for arm in arms))
        for stratum, counts in strata.items()
    ]
    return ["## Balance", "Accounts by plan and size. The draw knows neither, so chance alone parts them.",
            table(("plan and seats", *map(words, arms)), rows)]  # fmt: skip


def _first_tick(summary: Mapping[str, Any]) -> list[str]:
    """Say what a tick at the moment of the plan would do with the entrants: who is capped, asleep, or mailed."""
    found = summary.get("first_tick")
    if not found:
        return []
    rows = [(*decision(name), f"{count:,}") for name, count in found.items()]
    return ["## If they entered now, the tick would decide", table(("decision", "because", "contacts"), rows)]


def _provable(summary: Mapping[str, Any]) -> list[str]:
    """Say how large an effect must be to be seen, and warn where that is hopeless."""
    found = summary.get("provable")
    if found is None:
        return []
    if not found["treated"] + found["held_out"]:
        return []  # nobody was in, and nobody enters: there is nothing to reckon with
    sizes = f"{found['treated']:,} treated and {found['held_out']:,} held-out accounts, those of before included"
    if found["detectable_lift"] is None:
        return [f"**No lift can be shown**: {sizes}. Without a holdout nobody learns what it was worth."]
    told = (
        f"With {sizes}, a lift of {found['detectable_lift'] * 100:.0f} percentage points would be seen four times out"
        f" of five (reckoned as if {found['rate']:.0%} reached the goal by themselves, the worst case)."
    )
    return [f"**Too few to prove anything.** {told}" if found["is_hopeless"] else told]


def _edit(summary: Mapping[str, Any]) -> list[str]:
    """Say what differs from the approved release, and where people who are in stand now and would then."""
    found = summary.get("edit")
    if found is None:
        return []
    lines = [
        f"{change['part']} {change['key']}: {change['how']}"
        + (f" ({', '.join(change['fields'])})" if change["fields"] else "")
        for change in found["changes"]
    ]
    now, then = found["stand_now"], found["stand_then"]
    keys = dict.fromkeys([*now, *then])
    rows = [(key or "none left", f"{now.get(key, 0):,}", f"{then.get(key, 0):,}") for key in keys]
    who = (
        "People who are in follow it from where they stand. Contacts by the stage they wait for:"
        if found["follows"]
        else "People who are in keep what they entered with (`edits: pin`). Contacts by the stage they wait for:"
    )
    return [
        f"## What it changes against plan {cell(found['approved_plan'])}",
        bullets(lines),
        who,
        table(("waits for", "now", "once it is approved"), rows, empty="Nobody is in."),
    ]


def _since(summary: Mapping[str, Any]) -> list[str]:
    found = summary.get("since")
    if found is None or not (found["more"] or found["fewer"]):
        return []
    return [
        f"Against the last plan, {cell(found['plan_id'])}: {len(found['more']):,} more accounts enter,"
        f" {len(found['fewer']):,} of it do not."
    ]


def _against(summary: Mapping[str, Any]) -> list[str]:
    """List what differs on another snapshot."""
    found = summary.get("against")
    if found is None:
        return []
    parts = [f"## Against snapshot {cell(found['snapshot_id'])} of {cell(datetime.fromisoformat(found['as_of']))} UTC"]
    for title, key in (
        ("Match here and not there", "match_now"),
        ("Match there and not here", "match_no_more"),
        ("Enter here and not there", "enter_now"),
        ("Enter there and not here", "enter_no_more"),
    ):
        parts += [f"{title}: {count_accounts(len(found[key]))}.", *_listed(found[key])]
    return parts


def _listed(names: Sequence[str]) -> list[str]:
    more = [f"... and {len(names) - SHOWN:,} more; `--json` lists all"] if len(names) > SHOWN else []
    return [bullets([*names[:SHOWN], *more])] if names else []

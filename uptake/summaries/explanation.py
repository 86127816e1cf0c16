"""Why somebody did or did not get a mail, in words."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from uptake.domain.answers import Answer
from uptake.domain.conditions import Seen
from uptake.summaries.markdown import SHOWN, bullets, cell, table, words

if TYPE_CHECKING:
    from uptake.operations.explained import (
        CapUse,
        Enrollment,
        Explanation,
        Happened,
        NextStage,
        PlaybookExplanation,
        Stopped,
    )

_VERDICTS = {
    "send": "a tick now would send it",
    "task": "a tick now would open it",
    "retry": "not now",
    "pass_over": "a tick now would pass it over",
}
_DECIDED = {"retry": "not now", "pass_over": "passed over", "task": "task opened"}
_ANSWERS = {
    Answer.NOT_NEEDED: "they do not need this feature",
    Answer.ALREADY_DO: "they already do this",
    Answer.COLLEAGUE: "a colleague is the right person for this",
}
_HOLDS = {True: "true", False: "not true", None: "unknown"}


def explanation_summary(found: Explanation) -> str:
    """Say why somebody did or did not get a mail."""
    parts = [
        f"# Contact {cell(found.contact_id)} of {cell(found.account_id)}",
        f"As of snapshot `{found.snapshot_id}`. Last mail: {cell(found.last_mail_at)}.",
        f"The gate holds: {cell(found.gate_held)}" if found.gate_held else "The gate: passed.",
    ]
    if found.stops:
        parts.append(bullets(map(_stopped, found.stops)))
    return "\n\n".join([*parts, *(_playbook(one, found) for one in found.playbooks)])


def _stopped(one: Stopped) -> str:
    what = f"No mail about {cell(one.topic)}" if one.topic else "No mail at all"
    return f"{what}, because: {words(one.reason)} ({words(one.source)}, {_at(one.suppressed_at)})."


def _playbook(one: PlaybookExplanation, found: Explanation) -> str:
    if one.enters:
        told = _would_enter(one)
    elif any(entry.is_contact_in for entry in one.enrollments):
        told = "Is in."
    elif one.left_out:
        told = f"Left out: {words(one.left_out)}."
    elif one.enrollments:
        told = "Has been in." if any(entry.was_contact_in for entry in one.enrollments) else "Its account has been in."
    else:
        told = "Does not match."
    parts = [
        f"## {cell(one.playbook)}: {told}",
        f"Arm of the account: **{one.arm}**. Teaches: {cell(one.feature_key)}.",
    ]
    if one.answered:
        said = f"that {_ANSWERS[one.answered.answer]} ({_at(one.answered.given_at)})"
        parts.append(f"Has answered on the preference page {said}: no playbook writes to them about it.")
    if one.entries_held:
        parts.append(f"Nobody may enter now: {cell(one.entries_held)}")
    elif one.at_most is not None and one.enters:
        parts.append(f"Its approval lets at most {one.at_most:,} accounts enter in one tick.")
    if one.closed:
        parts.append(f"Nobody enters by matching today: {cell(one.closed)}.")
    parts.append(_seen(one.where))
    for scope, target in (("playbook", one.playbook), ("account", found.account_id)):
        orders = found.controls.playbooks if scope == "playbook" else found.controls.accounts
        if target in orders:
            parts.append(f"The {scope} is {'paused' if orders[target] == 'pause' else 'stopped'}.")
    for entry in one.enrollments:
        parts += _entry(entry)
    if any(entry.next_stage is not None for entry in one.enrollments):
        parts.append(f"Caps: {_cap('this person', one.person_cap)}; {_cap('the account', one.account_cap)}.")
    return "\n\n".join(parts)


def _would_enter(one: PlaybookExplanation) -> str:
    if one.enter == "manual":
        return "Could be taken in by hand."
    if one.closed:
        return "Would enter on the next day of its calendar."
    return "Would enter." if one.entries_held else "Would enter at the next tick."


def _entry(entry: Enrollment) -> list[str]:
    if entry.was_contact_in:
        chosen = ""
    else:
        chosen = "; this contact was not chosen" if entry.ended_at is None else "; this contact was not in it"
    ended = f", ended {cell(entry.ended_at)}" if entry.ended_at else ""
    parts = [f"Entry {entry.entry_no} on {cell(entry.enrolled_at)}, arm {entry.arm}{ended}{chosen}."]
    if entry.history:
        more = len(entry.history) - SHOWN
        parts.append(bullets(_happened(one) for one in entry.history[-SHOWN:]))
        if more > 0:
            parts.append(f"... and {more} before; `--json` lists all.")
    if entry.ending is not None:
        parts.append(f"A tick now would end it: {words(entry.ending)}.")
    elif entry.next_stage is not None:
        parts += _next(entry.next_stage)
    elif entry.is_contact_in and entry.arm != "treatment":
        parts.append("It is held out: it gets nothing, and is compared with those who do.")
    elif entry.is_contact_in:
        parts.append("No stage is left.")
    return parts


def _happened(one: Happened) -> str:
    because = f", because: {words(one.reason)}" if one.reason else ""
    match one.what:
        case "sent":
            told = f"{one.stage_key}: mail {words(one.outcome)}"
        case "delivery":
            told = f"{one.stage_key}: {words(one.outcome)}"
        case "left":
            told = "left"
        case "task":
            told = f"{one.stage_key}: task {words(one.outcome)}"
        case _:
            told = f"{one.stage_key}: {_DECIDED.get(one.outcome, one.outcome)}"
    detail = f" ({_detail(one.detail)})" if one.detail and one.what in ("decided", "task") else ""
    return f"{_at(one.at)}: {told}{because}{detail}"


def _next(step: NextStage) -> list[str]:
    kind = "the mail" if step.kind == "email" else "the task"
    told = f"Next: {kind} of stage {cell(step.stage_key)}, due {_at(step.due_at)}"
    if step.task is not None and step.waits_for == "task":
        who = step.task.owner or "nobody known"
        return [
            f"{told}. Task {step.task.task_id} is open, to be done by {cell(who)} until {_at(step.task.due_at)}:"
            f" {cell(step.task.title)}. If nobody closes it, the journey goes on on {_at(step.task.lapses_at)}."
        ]
    if step.waits_for is not None:
        return [f"{told}. It is under way: {cell(step.waits_for)}."]
    if step.verdict is not None:
        reason = "" if step.reason is None else f", because: {words(step.reason)}"
        detail = f" ({_detail(step.detail)})" if step.detail else ""
        told += f"; {_VERDICTS.get(step.verdict, step.verdict)}{reason}{detail}"
    parts = [f"{told}."]
    if step.kind == "email" and (step.verdict is None or step.reason == "outside_window"):
        why = f" ({step.closed_because})" if step.closed_because else ""
        parts.append(f"Its window: not before {_at(step.earliest_at)}, by the clock of {cell(step.zone)}{why}.")
    if step.wait is not None:
        parts += [f"It waits until this is true, at most until {_at(step.wait.until)}:", _seen(step.wait.seen)]
    if step.when:
        parts += [f"It goes only to whom this is true of; now it is {_HOLDS[step.when_holds]}:", _seen(step.when)]
    return parts


def _seen(found: tuple[Seen, ...]) -> str:
    return table(("predicate", "seen", "holds"), [(one.text, _values(one.values), one.holds) for one in found])


def _values(values: Any) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) if hasattr(values, "items") else str(values)


def _cap(who: str, use: CapUse | None) -> str:
    return f"{who}: no cap" if use is None else f"{who} {use.mails} of {use.at_most} mails in {use.per.days} days"


def _detail(text: str) -> str:
    """Return what a decision says of itself; a moment is when it is asked again."""
    try:
        return f"not before {_at(datetime.fromisoformat(text))}"
    except ValueError:
        return cell(text)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"

"""The commands with which people stop, go on, and decide what nobody else may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markdown import Markdown

from uptake.cli_common import AsJson, By, open_home, out, print_json, show
from uptake.errors import UsageError

if TYPE_CHECKING:
    from uptake.bootstrap import Uptake

app = typer.Typer()


Account = Annotated[str | None, typer.Option("--account", help="One account, in every playbook")]


@app.command()
def pause(
    by: By,
    reason: Annotated[str, typer.Option(help="Why")],
    playbook: Annotated[str | None, typer.Argument(help="One playbook; everything with --all")] = None,
    account: Account = None,
    everything: Annotated[bool, typer.Option("--all", help="Pause everything")] = False,
) -> None:
    """Stop new mail at once: of a playbook, to an account, or all. Goals and delivery events are still taken in."""
    _control("pause", playbook, account, everything, reason=reason, by=by)


@app.command()
def stop(
    by: By,
    reason: Annotated[str, typer.Option(help="Why")],
    playbook: Annotated[str | None, typer.Argument(help="One playbook; every approved one with --all")] = None,
    account: Account = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Stop every approved playbook, each by its own order")
    ] = False,
) -> None:
    """End a playbook for all who are in it, all playbooks for one account, or all. Nothing planned for them leaves."""
    _control("stop", playbook, account, everything, reason=reason, by=by)


@app.command()
def resume(
    by: By,
    reason: Annotated[str, typer.Option(help="Why")],
    playbook: Annotated[str | None, typer.Argument(help="One playbook; everything with --all")] = None,
    account: Account = None,
    everything: Annotated[bool, typer.Option("--all", help="Take back `pause --all`")] = False,
    sending: Annotated[
        bool, typer.Option("--sending", help="Open the lock that a refused key, credits or sender put on sending")
    ] = False,
) -> None:
    """Take a pause or a stop back. Who was taken out by a stop stays out; others may enter again."""
    if sending:
        if playbook is not None or account is not None or everything:
            raise UsageError("--sending stands alone; playbooks, accounts and --all are resumed by themselves")
        uptake = open_home()
        uptake.resume_sending(reason=reason, by=by)
        out.print("resumed sending", markup=False)
    else:
        uptake = _control("resume", playbook, account, everything, reason=reason, by=by)
    controls = uptake.ledger.releases.controls()
    if controls.sending_locked is not None:
        from uptake.operations.entering import opener

        out.print(f"Sending is still locked: {controls.sending_locked}. {opener(controls)} opens it.", markup=False)


_ORDERED = {"pause": "paused", "stop": "stopped", "resume": "resumed"}


def _control(
    action: Literal["pause", "resume", "stop"],
    playbook: str | None,
    account: str | None,
    everything: bool,
    *,
    reason: str,
    by: str,
) -> Uptake:
    if (playbook is not None) + (account is not None) + everything != 1:
        raise UsageError(f"{action} one playbook by its name, one account with --account, or everything with --all")
    uptake = open_home()
    about = uptake.control(action, playbook, account_id=account, reason=reason, by=by)
    out.print(f"{_ORDERED[action]} {about}", markup=False)
    return uptake


@app.command()
def held(as_json: AsJson = False) -> None:
    """List messages whose fate nobody knows: unknown (waits for evidence) and held (waits for you)."""
    from uptake.summaries.unknown_fate import held_summary

    found = open_home().held()
    if as_json:
        print_json([dict(row) for row in found])
    else:
        out.print(Markdown(held_summary(found)))


@app.command()
def release(
    by: By,
    reason: Annotated[str, typer.Option(help="Why they may be sent once more")],
    send_ids: Annotated[list[str] | None, typer.Argument(metavar="[SEND]...", help="Send ids")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every held message")] = False,
) -> None:
    """Send messages of unknown fate again. Whoever got the first one gets it twice: this is your decision."""
    if bool(send_ids) == everything:
        raise UsageError("release messages by their ids, or every held one with --all")
    count = open_home().release(send_ids or None, by=by, reason=reason)
    out.print(f"Released {count} messages by {by}; the next tick sends them, if they pass every check.", markup=False)


@app.command()
def reconcile(
    trust_ledger: Annotated[
        bool, typer.Option("--trust-ledger", help="Open the lock without asking the mail service; needs --by, --reason")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Who says so")] = None,
    reason: Annotated[str | None, typer.Option(help="Why the ledger is known to be whole")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the mail service's log about messages of unknown fate, and about what a restored ledger has forgotten."""
    from uptake.summaries.unknown_fate import reconcile_summary

    uptake = open_home()
    if trust_ledger:
        if not by or not reason:
            raise UsageError("--trust-ledger needs --by NAME and --reason")
        opened = uptake.trust_ledger(by=by, reason=reason)
        out.print("The lock is open." if opened else "Nothing was locked.", markup=False)
        return
    result = uptake.reconcile()
    show(result, as_json=as_json, markdown=reconcile_summary)
    if result.locked or result.trouble:
        raise typer.Exit(1)

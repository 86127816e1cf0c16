"""A small demo in a process of its own, that a test can kill: `python world.py HOME [--fresh]`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from uptake.demo import demo
from uptake.errors import UptakeError

ACCOUNTS, CONTACTS, DAYS = 40, 240, 5
TICK_HOURS = (7, 13, 17)


def main(home: Path, *, fresh: bool) -> int:
    """Run the small demo, or what is left of it."""
    console = Console(width=140, force_terminal=False)
    try:
        demo(
            home=home,
            fresh=fresh,
            console=console,
            accounts=ACCOUNTS,
            contacts=CONTACTS,
            days=DAYS,
            tick_hours=TICK_HOURS,
            history_days=40,
        )
    except UptakeError as error:
        console.print(f"refused: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), fresh="--fresh" in sys.argv))

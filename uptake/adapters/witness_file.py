"""The newest intent of this home, in a file beside the ledger: a ledger that lacks it is an older copy."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from uptake import failpoints


class WitnessFile:
    """`uptake.ports.Witness` in `$UPTAKE_HOME/last_intent.json`; it holds a send id and a moment."""

    def __init__(self, home: Path) -> None:
        self._path = home / "last_intent.json"

    def note(self, send_id: str, sending_at: datetime) -> None:
        """Replace what was kept; on disk when this returns. Raises OSError."""
        draft = self._path.with_name(f".last_intent.{os.getpid()}.json")
        with draft.open("w") as file:
            json.dump({"send_id": send_id, "sending_at": sending_at.isoformat()}, file)
            file.flush()
            os.fsync(file.fileno())
        failpoints.at("witness: drafted")
        draft.replace(self._path)
        failpoints.at("witness: noted")

    def newest(self) -> tuple[str, datetime] | None:
        """Return the send id and the moment kept last; '' and when it was written, of a file that is damaged."""
        try:
            kept = json.loads(self._path.read_text())
            sending_at = datetime.fromisoformat(kept["sending_at"])
            if sending_at.tzinfo is None:
                raise ValueError("a moment without a zone")
            return str(kept["send_id"]), sending_at
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return "", datetime.fromtimestamp(self._path.stat().st_mtime, UTC)

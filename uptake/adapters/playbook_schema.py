"""JSON Schema of the files in `playbooks/`, so that editors complete keys and mark mistakes while one types.

`python -m uptake.adapters.playbook_schema playbooks` writes them; a test says when they are out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from uptake.domain.playbooks import Playbook
from uptake.domain.workspace import Workspace

_MODELS: Mapping[str, type[BaseModel]] = {"schema.json": Playbook, "workspace.schema.json": Workspace}


def schemas() -> dict[str, str]:
    """Return the text of each schema file by its name."""
    return {
        name: json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema"} | model.model_json_schema(), indent=2
        )
        + "\n"
        for name, model in _MODELS.items()
    }


def write_schemas(directory: Path) -> None:
    """Write the schema files into the folder of the playbooks."""
    for name, text in schemas().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":  # pragma: no cover
    write_schemas(Path(sys.argv[1]))

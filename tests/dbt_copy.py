"""The dbt project as git would give it to an engineer: a copy to build in, and to break."""

from __future__ import annotations

from pathlib import Path


def copy_of_project(root: Path, folder: Path) -> Path:
    """Copy the project into a folder, without what dbt has made."""
    project = folder / "dbt_project"
    for path in sorted((root / "dbt_project").rglob("*")):
        name = path.relative_to(root / "dbt_project")
        if path.is_file() and name.parts[0] not in ("target", "logs") and path.suffix not in (".duckdb", ".wal"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes(path.read_bytes())
    return project

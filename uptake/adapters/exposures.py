"""Who depends on which column of a mart, as dbt exposures: each playbook, each report, and the engine itself.

`python -m uptake.adapters.exposures` writes `dbt_project/models/exposures.yml`; a test says when it is out of date.
`dbt ls --resource-type exposure --select tag:accounts_current.adoption_breadth` then answers who uses that column, and
a build says who loses one that a mart no longer has.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, nodes
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from uptake.adapters.conditions_duckdb import condition_names
from uptake.adapters.marts import CONDITION_MARTS, MARTS
from uptake.adapters.playbook_files import PlaybookFiles
from uptake.domain.conditions import parse
from uptake.domain.playbooks import NEXT_BEST, Release
from uptake.settings import Settings

_HEADER = (
    "# Written by `python -m uptake.adapters.exposures` from the playbooks, the reports and the engine: do not edit.\n"
)
_WORD = re.compile(r"\b\w+\b(?!\s*\()")  # and no function
_QUALIFIED = re.compile(r"\b(\w+)\.(\w+)")
_RELATION = re.compile(r"\b(?:from|join)\s+(\w+)(?:\s+as\s+(\w+))?")
_HERE = Path(__file__).parent
_ENVIRONMENT = Environment(autoescape=False)  # noqa: S701 - reads templates here, and never renders one

#: What is not a playbook: name -> (type, label, what it is, the code and pages that read the marts).
_CODE = {
    "engine": (
        "application",
        "The engine",
        "Decides at each tick who enters a playbook, who is due, who has reached a goal and who owns a task.",
        ("journeys",),
    ),
    "report_value": (
        "dashboard",
        "Value report",
        "What the base pays for and uses, and what each playbook was worth against its holdout.",
        ("evidence_duckdb.py", "pages/leadership.html.j2"),
    ),
    "report_account": (
        "dashboard",
        "Account page",
        "What one account pays for, who uses what, and what to learn next.",
        ("evidence_duckdb.py", "pages/account.html.j2"),
    ),
}
#: Exclusions of the workspace -> what they ask of an account.
_EXCLUSIONS = {
    "churned": "churned",
    "internal": "is_internal",
    "open_ticket": "count_open_tickets",
    "younger_than": "age_days",
}

#: Views that code lays over marts, with all of their columns.
_VIEWS = {"base": "accounts_current", "first_entries": "fct_outcomes"}

Columns = set[tuple[str, str]]  # (mart, column)


def exposures(playbooks: PlaybookFiles) -> str:
    """Return the text of `exposures.yml`. Raises PlaybookError when a playbook names a column that no mart has."""
    found = [_of_playbook(playbooks.release(name)) for name in playbooks.names()]
    for name, (kind, label, description, parts) in _CODE.items():
        columns = set().union(*(_in_code(_HERE / part) for part in parts))
        found.append(_exposure(name, kind, label, "Uptake", description, columns, parts))
    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump({"version": 2, "exposures": found}, text)
    return _HEADER + text.getvalue()


def write_exposures(settings: Settings) -> Path:
    """Write the exposures into the dbt project and return the file."""
    files = PlaybookFiles(settings.playbooks_dir, catalogue=settings.dbt_project_dir / "seeds" / "feature_catalog.csv")
    path = settings.dbt_project_dir / "models" / "exposures.yml"
    path.write_text(exposures(files), encoding="utf-8")
    return path


def _of_playbook(release: Release) -> dict[str, Any]:
    playbook = release.playbook
    goal = playbook.goal
    description = (
        f"Teaches {'each contact its next best feature' if playbook.teaches == NEXT_BEST else playbook.teaches}; "
        + (
            f"no goal: {goal.none}; "
            if goal.within is None
            else f"goal: {goal.reach} by {goal.by} within {goal.within.days} days; "
        )
        + f"{playbook.holdout:.0%} held out."
    )
    name = f"playbook_{release.name.replace('-', '_')}"
    columns = {*_in_rules(release), *_in_texts(release), *_in_goal(release)}
    folder = (f"playbooks/{release.name}",)
    return _exposure(
        name, "application", f"Playbook {release.name}", "Success operations", description, columns, folder
    )


def _exposure(
    name: str, kind: str, label: str, owner: str, description: str, columns: Iterable[tuple[str, str]], parts: Any
) -> dict[str, Any]:
    used = sorted(set(columns))
    marts = sorted({mart for mart, _ in used})
    reads = [f"- `{mart}`: {', '.join(column for of, column in used if of == mart)}" for mart in marts]
    return {
        "name": name,
        "label": label,
        "type": kind,
        "owner": {"name": owner},
        "description": LiteralScalarString("\n".join([description, "", "It reads", "", *reads, ""])),
        "depends_on": [f"ref('{mart}')" for mart in marts],
        "config": {
            "tags": [f"{mart}.{column}" for mart, column in used],
            "meta": {"read_by": list(parts)},
        },
    }


# --- what a playbook reads ----------------------------------------------------------------------------------


def _in_rules(release: Release) -> Iterator[tuple[str, str]]:
    """Yield what audience, exit and stages ask, and what the workspace excludes by."""
    playbook = release.playbook
    whens = [stage.when for stage in playbook.stages.values()]
    for place, texts in (("where", [playbook.audience.where]), ("exit_when", [playbook.exit_when]), ("when", whens)):
        for text in texts:
            for name in parse(text, condition_names(place)).names if text is not None else ():
                scope, _, column = name.partition(".")
                if scope in CONDITION_MARTS:
                    yield CONDITION_MARTS[scope], column
    if playbook.audience.contacts.prefer:
        yield "contacts_current", "role"
    for rule, column in _EXCLUSIONS.items():
        if getattr(release.workspace.exclusions, rule):
            yield "accounts_current", column


def _in_goal(release: Release) -> Iterator[tuple[str, str]]:
    mart = "account_features" if release.playbook.goal.by == "account" else "contact_features"
    yield mart, "adoption_state"
    yield "fct_outcomes", "is_goal_reached"
    if release.playbook.teaches == NEXT_BEST:
        yield from (("feature_recommendations", column) for column in ("feature_key", "recommendation_rank"))


def _in_texts(release: Release) -> Iterator[tuple[str, str]]:
    """Yield the merge fields of every stage; `feature.*` is the catalogue's where it has the column."""
    for text in release.texts.values():
        for part in (text.subject, text.preheader, text.body):
            for field in _ENVIRONMENT.parse(part).find_all(nodes.Getattr):
                scope = field.node.name if isinstance(field.node, nodes.Name) else ""
                if scope == "feature" and field.attr in MARTS["dim_features"].names:
                    yield "dim_features", field.attr
                elif scope in CONDITION_MARTS and field.attr in MARTS[CONDITION_MARTS[scope]].names:
                    yield CONDITION_MARTS[scope], field.attr


# --- what code reads ----------------------------------------------------------------------------------------


def _in_code(path: Path) -> Columns:
    """Return the columns that SQL, or a page, may read. Rather one too many than one too few.

    A page reads `facts`, the row of its account.
    """
    if path.is_dir():
        return set().union(*(_in_code(file) for file in sorted(path.glob("*.py"))))
    code = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return {("accounts_current", column) for column in re.findall(r"\bfacts\.(\w+)", code)}
    found: Columns = set()
    for text in _texts_in(code):
        found |= _in_sql(text)
    return found


def _in_sql(text: str) -> Columns:
    """Return the columns that one text of SQL may read, by the names it gives to marts."""
    relations = dict(CONDITION_MARTS) | _VIEWS
    for mart, alias in _RELATION.findall(text):
        relations |= {mart: relations.get(mart, mart), alias or mart: relations.get(mart, mart)}
    named = {mart for mart, _ in _RELATION.findall(text)}
    marts = {relations[name] for name in named} & set(MARTS)
    found = {(relations[name], column) for name, column in _QUALIFIED.findall(text) if relations.get(name) in MARTS}
    bare = set(_WORD.findall(_QUALIFIED.sub(" ", text)))
    found |= {(mart, column) for mart in marts for column in bare}
    return {(mart, column) for mart, column in found if column in MARTS[mart].names}


def _texts_in(code: str) -> Iterator[str]:
    """Yield the texts of a module that are not documentation; the parts of an f-string together."""
    tree = ast.parse(code)
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inner |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield " ".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


if __name__ == "__main__":  # pragma: no cover
    sys.stdout.write(f"{write_exposures(Settings())}\n")

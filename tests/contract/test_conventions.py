"""The conventions of dbt projects, as dbt-project-evaluator knows them, and a few of our own; each rule is a test.

Exceptions stand here with their reason, and a test fails when one is no longer needed. Four of its rules are not ours:
staging of all sources rests on that of each; `unreadable` reads every input of a source again, to say which lines
nobody could read; some marts join more than seven relations, each one fact about their key; only events are fresh.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from uptake.adapters.marts import MARTS

pytestmark = pytest.mark.slow  # parses the project

Node = dict[str, Any]

#: Staging that has nothing to stage: what a source does not tell is an empty relation.
_EMPTY = "empty_relation("
#: Models without a key of their own, and why.
KEYLESS = {
    "stg_event_lines": "a line is known by its place in a file, which dbt's tests would have to read again",
    "stg_quarantine": "one line may be quarantined for two reasons",
}
#: Columns that say something of their own in these models, and why; elsewhere one name has one description.
OF_THEIR_OWN = {
    "count_contacts": (
        {"accounts_current", "fct_account_feature_daily", "fct_outcomes"},
        "those of the row: of the account, of the feature and day, of the enrollment",
    ),
    "plan": (
        {
            "stg_accounts",
            "stg_subscriptions",
            "stg_feature_plans",
            "int_plan_features",
            "fct_account_health_weekly",
            "int_account_weeks_lived",
        },
        "dim_accounts decides which plan an account is on; before it are candidates, and history asks about a day past",
    ),
    "date_day": ({"int_health_weeks"}, "the version of a week stands at its Sunday"),
    "reason": ({"stg_quarantine", "feature_recommendations"}, "why a line is not used, and why a feature is advised"),
}
#: Intermediate models that rest on marts, and why; staging never does.
ON_MARTS = {
    "int_plan_features": "dim_accounts decides which plans there are; fct_account_health_weekly asks what each holds",
    "int_account_weeks_lived": "the marts say since when an account is used or sold to; only health's history asks",
    "int_use_frequency": "dim_accounts says who is a customer, and how often a feature is used is asked of customers",
    "int_feature_rules": "the rules are learned from account_features, and only feature_recommendations asks for them",
}


@pytest.fixture(scope="module")
def models(manifest: dict[str, Any]) -> dict[str, Node]:
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


@pytest.fixture(scope="module")
def parents(models: dict[str, Node]) -> dict[str, set[str]]:
    """Model -> the models, seeds and sources it rests on."""
    return {
        name: {parent.removeprefix("model.uptake.") for parent in node["depends_on"]["nodes"]}
        for name, node in models.items()
    }


@pytest.fixture(scope="module")
def children(parents: dict[str, set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in parents}
    for name, above in parents.items():
        for parent in above & set(parents):
            found[parent].add(name)
    return found


def layer(node: Node) -> str:
    return str(node["path"]).split("/")[0]


def sql_files(root: Path) -> list[Path]:
    return sorted((root / "dbt_project/models").rglob("*.sql"))


def without_comments(sql: str) -> str:
    return re.sub(r"\{#.*?#\}|--[^\n]*", "", sql, flags=re.DOTALL)


# --- naming -----------------------------------------------------------------------------------------------------


def test_staging_is_called_stg_and_says_its_source(root: Path):
    wrong = []
    for path in sql_files(root):
        parts = path.relative_to(root / "dbt_project/models").parts
        if parts[0] == "staging":
            is_shared = len(parts) == 2 or parts[1] == "catalog"
            prefix = "stg_" if is_shared else f"stg_{parts[1]}__"
            if not path.name.startswith(prefix) or (is_shared and "__" in path.stem):
                wrong.append(f"{'/'.join(parts)}: expected {prefix}...")
    assert wrong == [], "\n" + "\n".join(wrong)


def test_intermediate_is_called_int(root: Path):
    assert [
        path.name
        for path in sql_files(root)
        if (path.parent.name == "intermediate") != path.name.startswith("int_") and "marts" not in path.parts
    ] == []


def test_marts_are_those_of_the_contract(root: Path):
    found = {path.stem for path in sql_files(root) if "marts" in path.relative_to(root).parts}
    assert found == set(MARTS)


def test_properties_are_in_files_named_after_their_folder(root: Path):
    wrong = []
    for path in sorted((root / "dbt_project/models").rglob("*.yml")):
        folder = path.parent.name
        kinds = {"models", "sources", "unit_tests"}
        allowed = {f"_{folder}__{kind}.yml" for kind in kinds} | ({"exposures.yml"} if folder == "models" else set())
        if path.name not in allowed:
            wrong.append(f"{path.relative_to(root)}: expected one of {', '.join(sorted(allowed))}")
    assert wrong == [], "\n" + "\n".join(wrong)


def test_one_file_is_one_model_with_its_grain_in_the_first_line(root: Path):
    wrong = [path.name for path in sql_files(root) if not path.read_text().startswith("-- grain: one row")]
    assert wrong == [], "\n" + "\n".join(wrong)
    names = Counter(path.stem for path in sql_files(root))
    assert [name for name, count in names.items() if count > 1] == []


# --- layers -----------------------------------------------------------------------------------------------------


def test_only_staging_reads_sources(models: dict[str, Node], parents: dict[str, set[str]]):
    wrong = [
        name for name, above in parents.items() if layer(models[name]) != "staging" for p in above if "source." in p
    ]
    assert wrong == [], "\n" + "\n".join(wrong)


def test_no_edge_bends_back_to_an_earlier_layer(models: dict[str, Node], parents: dict[str, set[str]]):
    order = {"staging": 0, "intermediate": 1, "marts": 2}
    wrong = [
        f"{name} ({layer(models[name])}) rests on {parent} ({layer(models[parent])})"
        for name, above in parents.items()
        for parent in above & set(models)
        if order[layer(models[name])] < order[layer(models[parent])] and name not in ON_MARTS
    ]
    assert [name for name in ON_MARTS if all(layer(models[p]) != "marts" for p in parents[name] & set(models))] == []
    assert wrong == [], "\n" + "\n".join(wrong)


def test_a_source_is_staged_by_its_own_folder(models: dict[str, Node], parents: dict[str, set[str]]):
    wrong = [
        f"{name} reads {parent}"
        for name, above in parents.items()
        for parent in above
        if parent.startswith("source.") and parent.split(".")[2] != Path(models[name]["path"]).parent.name
    ]
    assert wrong == [], "\n" + "\n".join(wrong)


def test_no_model_is_a_root(models: dict[str, Node], parents: dict[str, set[str]]):
    wrong = [name for name, above in parents.items() if not above and _EMPTY not in models[name]["raw_code"]]
    assert wrong == [], "\n" + "\n".join(wrong)


def test_no_source_is_left_unread(manifest: dict[str, Any], parents: dict[str, set[str]]):
    read = set().union(*parents.values())
    assert sorted(set(manifest["sources"]) - read) == []


def test_nothing_upstream_is_joined_again(parents: dict[str, set[str]], children: dict[str, set[str]]):
    """A model whose only use is to be joined with its own parent again should have said it all itself."""
    wrong = [
        f"{child} joins {middle} and {top}, but {middle} exists for {child} alone"
        for child, above in parents.items()
        for middle in above & set(parents)
        if children[middle] == {child}
        for top in parents[middle] & above & set(parents)
        if parents[middle] & set(parents) == {top}
    ]
    assert wrong == [], "\n" + "\n".join(wrong)


def test_no_model_imports_one_parent_twice(models: dict[str, Node]):
    wrong = []
    for name, node in models.items():
        imported = re.findall(r"\(select \* from \{\{ (?:ref|staged)\('(\w+)'\) \}\}\)", node["raw_code"])
        wrong += [f"{name} imports {parent} {n} times" for parent, n in Counter(imported).items() if n > 1]
    assert wrong == [], "\n" + "\n".join(wrong)


def test_no_reference_is_hard_coded(models: dict[str, Node]):
    """What stands after `from` or `join` is a ref, a source, or something the model itself has named."""
    wrong = []
    for name, node in models.items():
        sql = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", " jinja ", without_comments(node["raw_code"]), flags=re.DOTALL)
        sql = re.sub(r"\bis (not )?distinct from\b", "", sql)
        own = set(re.findall(r"(\w+)\s+as\s+(?:materialized\s+|not materialized\s+|jinja\s+)?\(", sql)) | {"jinja"}
        own |= set(re.findall(r"\)\s+as\s+(\w+)", sql))
        for found in re.findall(r"\b(?:from|join)\s+([a-zA-Z_][\w.]*)(?!\s*\()", sql):
            if found.split(".")[0] not in own and not found.startswith("uptake_"):
                wrong.append(f"{name} reads {found}")
    assert wrong == [], "\n" + "\n".join(wrong)


# --- documented, tested ------------------------------------------------------------------------------------------


def test_every_model_is_described(root: Path):
    described: dict[str, str] = {}
    for path in (root / "dbt_project/models").rglob("_*__models.yml"):
        for model in yaml.safe_load(path.read_text())["models"]:
            assert path.parent in {file.parent for file in sql_files(root) if file.stem == model["name"]}, model["name"]
            described[model["name"]] = (model.get("description") or "").strip()
    assert sorted({path.stem for path in sql_files(root)} - {name for name, text in described.items() if text}) == []


def test_every_model_has_its_key_tested(manifest: dict[str, Any], models: dict[str, Node]):
    """Mappings of a source are tested in the relation they fill."""
    tested = {
        node["attached_node"].removeprefix("model.uptake.")
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and (node.get("test_metadata") or {}).get("name") == "grain"
        and node["attached_node"]
    }
    wanted = {name for name, node in models.items() if not is_mapping(node)}
    assert sorted(wanted - tested - set(KEYLESS)) == []
    assert sorted(set(KEYLESS) & (tested | (set(KEYLESS) - wanted))) == []


def is_mapping(node: Node) -> bool:
    """Whether a model is one source's way into a relation that all sources fill."""
    return "__" in node["name"] and layer(node) == "staging"


def test_every_mart_has_an_enforced_contract_with_each_column_described(models: dict[str, Node]):
    marts = {name: node for name, node in models.items() if layer(node) == "marts"}
    assert len(marts) >= 10
    for name, node in marts.items():
        assert node["config"]["contract"]["enforced"], name
        assert [column for column, told in node["columns"].items() if not told["description"]] == [], name


def test_every_column_of_every_layer_is_described(root: Path):
    """Mappings of a source fill relations whose columns are. That none is left out is seen on a build of the sample."""
    wrong = [
        f"{node}.{column['name']}"
        for node, columns in described_columns(root).items()
        for column in columns
        if not column.get("description") or set(column) - {"name", "description", "data_type", "data_tests"}
    ]
    assert wrong == [], "\n" + "\n".join(wrong)
    models = {path.stem for path in sql_files(root)}
    bare = {name for name in models if not described_columns(root).get(name)}
    assert sorted(name for name in bare if "__" not in name or name.startswith("stg_ledger__")) == []


def described_columns(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Model or seed -> its columns, as the property files have them."""
    project = root / "dbt_project"
    found: dict[str, list[dict[str, Any]]] = {}
    for path in [*sorted((project / "models").rglob("_*__models.yml")), project / "seeds" / "_seeds.yml"]:
        told = yaml.safe_load(path.read_text())
        for node in told.get("models") or told["seeds"]:
            found[node["name"]] = node.get("columns") or []
    return found


def test_one_word_has_one_description_written_once(root: Path):
    """A name that stands in several models and seeds means the same in all of them, and a doc block says what."""
    meanings: dict[str, dict[str, set[str]]] = {}
    for node, columns in described_columns(root).items():
        for column in columns:
            meanings.setdefault(column["name"], {}).setdefault(column["description"], set()).add(node)
    wrong = []
    for word, told in meanings.items():
        own, _ = OF_THEIR_OWN.get(word, (set(), ""))
        shared = {text: nodes - own for text, nodes in told.items() if nodes - own}
        if len(shared) > 1:
            wrong.append(
                f"{word} has {len(shared)} meanings: in {'; in '.join(map(', '.join, map(sorted, shared.values())))}"
            )
        wrong += [
            f"{word}: {', '.join(sorted(nodes))} say the same in words of their own; expected a doc block"
            for text, nodes in told.items()
            if len(nodes) > 1 and not re.fullmatch(r"\{\{ doc\('\w+'\) \}\}", text)
        ]
        wrong += [
            f"{word} says in {node} what it says elsewhere"
            for nodes in told.values()
            if len(nodes) > 1
            for node in nodes & own
        ]
    assert wrong == [], "\n" + "\n".join(wrong)
    known = {(word, node) for word, told in meanings.items() for nodes in told.values() for node in nodes}
    assert {(word, node) for word, (nodes, _) in OF_THEIR_OWN.items() for node in nodes} - known == set()


def test_no_doc_block_is_left_unread(root: Path):
    project = root / "dbt_project"
    written = {
        name
        for path in (project / "models").rglob("*.md")
        for name in re.findall(r"\{% docs (\w+) %\}", path.read_text())
        if not name.startswith("__")
    }
    read = {
        name
        for path in [*(project / "models").rglob("*.yml"), *(project / "seeds").rglob("*.yml")]
        for name in re.findall(r"doc\('(\w+)'\)", path.read_text())
    }
    assert sorted(written - read) == []
    assert len(written) > 50


def test_every_formula_of_a_mart_is_a_doc_block(manifest: dict[str, Any], root: Path):
    """Shares and scores are formulas; a sentence beside a column is not enough to compute one."""
    wrong = []
    for path in sorted((root / "dbt_project/models/marts").rglob("_*__models.yml")):
        for model in yaml.safe_load(path.read_text())["models"]:
            for column in model["columns"]:
                if is_formula(column) and "doc(" not in column["description"]:
                    wrong.append(f"{model['name']}.{column['name']}")
    assert wrong == [], "\n" + "\n".join(wrong)


#: Numbers that come as they are from a source or the catalogue: no formula is behind them.
_GIVEN = {"arr", "weight", "minutes_saved_per_use", "sum_quantity"}


def is_formula(column: dict[str, Any]) -> bool:
    return column["data_type"] == "double" and column["name"] not in _GIVEN


_WINDOW = re.compile(
    r"_28$|_prev_28$|^adoption_state$|^first_adopted_on$|^count_features_(adopted|entitled)$|^days_since_"
)


def test_every_ratio_and_window_of_a_mart_has_a_unit_test_that_names_it(
    manifest: dict[str, Any], root: Path, parents: dict[str, set[str]]
):
    """On the mart, or on a model upstream from which the column comes by the same name."""
    named: dict[str, set[str]] = {}
    for test in manifest["unit_tests"].values():
        rows = test["expect"]["rows"] or []
        named.setdefault(test["model"], set()).update(column for row in rows if isinstance(row, dict) for column in row)

    def is_named(model: str, column: str) -> bool:
        return column in named.get(model, ()) or any(is_named(parent, column) for parent in parents.get(model, ()))

    missing = [
        f"{model['name']}.{column['name']}"
        for path in sorted((root / "dbt_project/models/marts").rglob("_*__models.yml"))
        for model in yaml.safe_load(path.read_text())["models"]
        for column in model["columns"]
        if (is_formula(column) or _WINDOW.search(column["name"])) and not is_named(model["name"], column["name"])
    ]
    assert missing == [], "\n" + "\n".join(missing)


def test_every_source_declares_the_freshness_of_its_events(root: Path):
    files = sorted((root / "dbt_project/models/staging").rglob("_*__sources.yml"))
    assert len(files) >= 3
    wrong = []
    for path in files:
        for source in yaml.safe_load(path.read_text())["sources"]:
            assert source["description"], path.name
            for table in source["tables"]:
                assert table["description"], f"{path.name}: {table['name']}"
                freshness = table.get("config", {}).get("freshness") or {}
                if table["name"] == "events" and not (
                    freshness.get("error_after") and "occurred_at" in table["loaded_at_query"]
                ):
                    wrong.append(f"{source['name']}.{table['name']}")
    assert wrong == [], "\n" + "\n".join(wrong)


# --- exposures ---------------------------------------------------------------------------------------------------


def test_every_playbook_and_report_is_an_exposure(manifest: dict[str, Any], root: Path):
    playbooks = {path.parent.name for path in (root / "playbooks").glob("*/playbook.yml")}
    found = {exposure["name"] for exposure in manifest["exposures"].values()}
    expected = {f"playbook_{name.replace('-', '_')}" for name in playbooks} | {
        "report_value",
        "report_account",
        "engine",
    }
    assert found == expected


#: Whoever is exposed reads the snapshot, in which a mart is a file however the warehouse makes it.
READ_AS_A_FILE = {"contact_features"}


def test_exposures_rest_on_marts_alone(manifest: dict[str, Any], models: dict[str, Node]):
    for exposure in manifest["exposures"].values():
        above = {name.removeprefix("model.uptake.") for name in exposure["depends_on"]["nodes"]}
        assert above <= {name for name, node in models.items() if layer(node) == "marts"}, exposure["name"]
        assert {tag.split(".")[0] for tag in exposure["tags"]} == above, exposure["name"]
        assert {models[name]["access"] for name in above} == {"public"}, exposure["name"]
        made = {models[name]["config"]["materialized"] for name in above - READ_AS_A_FILE}
        assert not made & {"view", "ephemeral"}, exposure["name"]

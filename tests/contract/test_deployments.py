"""prefect.yaml against what it names: playbooks, flows, and no logic."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.deployments.steps import set_working_directory
from prefect.utilities.callables import parameter_schema
from ruamel.yaml import YAML

RUN_PLAYBOOK = "flows/run_playbook.py:run_playbook"
ALLOWED = {"uptake.bootstrap", "uptake.errors", "uptake.run_states"}  # and what is in uptake/summaries
ROOT = Path(__file__).resolve().parents[2]


def read() -> dict[str, Any]:
    found = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())
    assert isinstance(found, dict)
    return found


DEPLOYMENTS: list[dict[str, Any]] = read()["deployments"]


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, name = deployment["entrypoint"].split(":")
    assert (ROOT / path).is_file()
    found = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(found, Flow)
    return found


def test_each_playbook_has_exactly_one_deployment_with_its_name() -> None:
    folders = sorted(path.parent.name for path in (ROOT / "playbooks").glob("[!_]*/playbook.yml"))
    deployed = [one for one in DEPLOYMENTS if one["entrypoint"] == RUN_PLAYBOOK]
    assert sorted(one["name"] for one in deployed) == folders
    for one in deployed:
        assert one["parameters"] == {"playbook": one["name"]}, "no deployment approves by itself"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["name"])
def test_each_deployment_names_a_flow_that_takes_its_parameters(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    signature = inspect.signature(flow.fn)
    assert set(deployment.get("parameters", {})) <= set(signature.parameters)
    missing = {
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in deployment.get("parameters", {})
    }
    assert not missing, "a run from the page needs nothing but a click"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["name"])
def test_each_field_of_a_form_has_a_help_text(deployment: dict[str, Any]) -> None:
    for name, field in parameter_schema(flow_of(deployment).fn).properties.items():
        assert field.get("description"), name


def test_a_form_that_is_left_as_it_is_mails_nobody() -> None:
    mode = parameter_schema(flow_of({"entrypoint": RUN_PLAYBOOK}).fn).properties["mode"]
    assert mode["default"] == "plan only"
    assert mode["enum"] == ["plan only", "approve and run"]


def test_an_override_that_is_left_as_it_is_names_nobody_and_lets_nothing_pass() -> None:
    fields = parameter_schema(flow_of({"entrypoint": "flows/override.py:override"}).fn).properties
    assert {name: field["default"] for name, field in fields.items()} == {"snapshot": "", "name": "", "reason": ""}
    (deployment,) = [one for one in DEPLOYMENTS if one["name"] == "override"]
    assert not deployment.get("parameters")


def test_no_schedule_is_active_until_somebody_switches_it_on() -> None:
    schedules = {one["name"]: one.get("schedules", []) for one in DEPLOYMENTS}
    assert {name for name, found in schedules.items() if found} == {"refresh", "tick", "nightly", "measure"}
    for found in schedules.values():
        assert all(schedule["active"] is False and schedule["timezone"] for schedule in found)


def test_names_are_unique_and_every_deployment_runs_in_the_same_work_pool() -> None:
    names = [one["name"] for one in DEPLOYMENTS]
    assert len(set(names)) == len(names)
    assert {one["work_pool"]["name"] for one in DEPLOYMENTS} == {"uptake"}
    assert all(one["description"].strip() for one in DEPLOYMENTS)


def test_prefect_yaml_holds_no_logic_and_no_place() -> None:
    document = read()
    assert document["build"] is None
    assert document["push"] is None
    (step,) = document["pull"]
    assert list(step) == [f"prefect.deployments.steps.{set_working_directory.__name__}"]
    text = (ROOT / "prefect.yaml").read_text()
    assert "run_shell_script" not in text
    assert set(re.findall(r"{{(.*?)}}", text)) == {" $UPTAKE_CHECKOUT "}
    assert not re.search(r"/(?:home|tmp|work|usr)/", text)


def test_flows_are_entry_points_and_hold_no_business_logic() -> None:
    for path in (ROOT / "flows").glob("*.py"):
        tree = ast.parse(path.read_text())
        assert len(path.read_text().splitlines()) <= 80, path.name
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        ours = {module for module in modules if module.startswith("uptake") and "uptake.summaries." not in module}
        assert ours <= ALLOWED, path.name

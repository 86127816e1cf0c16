"""The gate before publication: Great Expectations over the candidate marts.

GX answers for the rules in `expectations/<mart>.json`; `mart_checks` for what it cannot know. Nothing in here turns
an exception into a pass: what could not be decided is a check of status `errored` or `missing`, and those hold.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from uptake.adapters.data_docs import finish
from uptake.adapters.mart_checks import NAMES, Severity, check_marts, checked, told
from uptake.adapters.marts import MARTS
from uptake.errors import Refused
from uptake.ports import Build, Check

_SITE = "data_docs"
_SAMPLES = 3  # values shown of those that broke a rule
_HARMLESS = re.compile(r"[\w.:/-]{1,64}")


class GxSuites:
    """Runs the suites of one folder against a warehouse; data docs go to HOME/data_docs.

    With `docs`, each run writes them; else `build_docs` does, for the last run. One instance keeps GX imported,
    which costs seconds the first time.
    """

    #: A gate in which one of these checks did not even appear is no gate.
    required_names = NAMES | {f"gate:suite:{mart}" for mart in MARTS}

    def __init__(self, expectations_dir: Path, home: Path, *, docs: bool = False) -> None:
        self._expectations_dir = expectations_dir
        self._docs_dir = home.resolve() / _SITE
        self._docs = docs
        self._results: list[Any] = []
        self._told: tuple[tuple[Check, ...], datetime] | None = None

    def run(self, build: Build, *, history: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
        """Run every suite; `history` = manifests of earlier snapshots of this source.

        Never raises for a bad suite or a bad mart: that is a check with status `errored` or `missing`.
        """
        self._results = []
        checks = (*check_marts(build, history), *self._suite_checks(build))
        self._told = checks, build.as_of
        if self._docs:
            try:
                self.build_docs()
            except Exception as error:  # the pages show the gate, they are not the gate
                return (*checks, checked("gate:data_docs", "errored", told(error), "warning"))
        return checks

    def build_docs(self) -> Path:
        """Write the data docs of the last run as a static site that needs no network; return its index page."""
        if self._told is None:
            raise Refused("there are no data docs yet: no suite has run; expected a refresh first")
        draft = self._docs_dir.with_name(f".{_SITE}")
        shutil.rmtree(draft, ignore_errors=True)
        checks, as_of = self._told
        with _gx_quiet():
            context = _context(draft)
            _store(context, self._results, as_of)
            context.build_data_docs()
        finish(draft, checks, as_of=as_of)
        shutil.rmtree(self._docs_dir, ignore_errors=True)
        draft.rename(self._docs_dir)
        return self._docs_dir / "index.html"

    def _suite_checks(self, build: Build) -> Iterator[Check]:
        """Validate each mart against its suite."""
        try:
            with _gx_quiet(), _gx_warehouse(build.warehouse) as warehouse:
                for mart in MARTS:
                    yield from self._run_suite(mart, warehouse)
        except Exception as error:
            yield from (checked(f"gate:suite:{mart}", "errored", told(error)) for mart in MARTS)

    def _run_suite(self, mart: str, warehouse: Any) -> list[Check]:
        """Return a check for each expectation of one suite, and one that says whether all of it ran."""
        whole = f"gate:suite:{mart}"
        path = self._expectations_dir / f"{mart}.json"
        try:
            suite, rules = _read_suite(path, mart)
            expected = Counter(rules)
            repeated = [name for name, count in expected.items() if count > 1]
            if repeated:
                raise ValueError(f"{path.name} holds {repeated[0]} twice; give each rule its own meta.rule")
            asset = warehouse.add_table_asset(name=mart, table_name=mart, schema_name="marts")
            batch = asset.add_batch_definition_whole_table("candidate").get_batch()
            result = batch.validate(
                suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": _SAMPLES}
            )
            checks = [_verdict(mart, one) for one in result.results]
            found = Counter(check.name for check in checks)
            if found != expected:
                lost = sorted((expected - found) | (found - expected))
                raise ValueError(f"{len(checks)} results for {expected.total()} expectations; not matched: {lost[0]}")
            self._results.append((suite, batch, _without_values(result)))
        except FileNotFoundError:
            return [checked(whole, "missing", f"{path.name} does not exist; expected a suite for every mart")]
        except NoExpectations:
            return [checked(whole, "missing", f"{path.name} holds no expectation; expected at least one")]
        except Exception as error:
            return [checked(whole, "errored", told(error))]
        return [checked(whole, "passed", f"{len(checks)} expectations ran"), *checks]


class NoExpectations(Exception):
    """A suite file says nothing."""


# --- Great Expectations -------------------------------------------------------------------------------------


@contextmanager
def _gx_quiet() -> Iterator[None]:
    """Keep GX's notes about its own future out of our output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _context(site: Path | None = None) -> Any:
    """Return a GX context that lives in memory, reports to nobody and would write data docs to `site`."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    config = DataContextConfig(
        analytics_enabled=False,
        progress_bars={"globally": False},
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites=site
        and {
            _SITE: {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        },
    )
    return gx.get_context(project_config=config, mode="ephemeral")


@contextmanager
def _gx_warehouse(path: Path) -> Iterator[Any]:
    """Open the warehouse as a GX data source, and let go of the file at the end."""
    import uptake.adapters.gx_duckdb  # registers the dialect; imported here because SQLAlchemy is not needed elsewhere

    if not path.is_file():
        raise FileNotFoundError(f"warehouse {path.name} does not exist")
    context = _context()
    url = uptake.adapters.gx_duckdb.address(path)
    source = context.data_sources.add_sql(name="warehouse", connection_string=url)
    try:
        yield source
    finally:
        source.get_execution_engine().close()
        source.get_engine().dispose()


def _read_suite(path: Path, mart: str) -> tuple[Any, list[str]]:
    """Read one suite in GX's own format, and the names of its expectations as the file has them.

    GX leaves out, with a line in its log, an expectation that it cannot build: what it built is therefore compared
    with what was written. Raises what is wrong with the file.
    """
    import great_expectations as gx

    raw = json.loads(path.read_bytes())
    if not isinstance(raw, dict):
        raise ValueError(f"{path.name} holds a {type(raw).__name__}, expected an object")
    if not raw.get("expectations"):
        raise NoExpectations
    if raw["name"] != mart:
        raise ValueError(f"{path.name} holds the suite {raw['name']!r}, expected {mart!r}")
    written = [
        _name(mart, rule["type"], rule.get("kwargs", {}), rule.get("meta") or {}) for rule in raw["expectations"]
    ]
    suite = gx.ExpectationSuite(**raw)
    built = {
        _name(mart, one.configuration.type, one.configuration.kwargs, one.meta or {}) for one in suite.expectations
    }
    for name in written:
        if name not in built:
            raise ValueError(f"{path.name}: {name} is no expectation that Great Expectations can build")
    return suite, written


def _name(mart: str, kind: str, kwargs: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """Return the name of one expectation: tool, mart, type, and its rule or column."""
    return ":".join(str(part) for part in ("gx", mart, kind, meta.get("rule") or kwargs.get("column")) if part)


def _verdict(mart: str, one: Any) -> Check:
    """Return one GX result as a check."""
    configuration = one.expectation_config
    severity: Severity = "critical" if _severity(configuration) == "critical" else "warning"
    name = _name(mart, configuration.type, configuration.kwargs, configuration.meta or {})
    if error := _exception(one.exception_info):
        return checked(name, "errored", told(error), severity)
    if one.success is True:
        return checked(name, "passed", "", severity)
    return checked(name, "failed", _found(one.result, configuration), severity)


def _severity(configuration: Any) -> str:
    """Return an expectation's severity; one that names none is critical."""
    severity = getattr(configuration, "severity", None) or configuration.kwargs.get("severity") or "critical"
    return str(getattr(severity, "value", severity))


def _exception(info: Any) -> str | None:
    """Return the message of the exception GX met, in either of the two shapes it tells it."""
    if not info:
        return None
    for entry in [info] if "raised_exception" in info else info.values():
        if entry.get("raised_exception"):
            return str(entry.get("exception_message") or "GX raised an exception")
    return None


def _found(result: Mapping[str, Any], configuration: Any) -> str:
    """Say what was found and what was expected."""
    why = (configuration.meta or {}).get("why", "")
    bounds = {
        key: value
        for key, value in configuration.kwargs.items()
        if key in ("min_value", "max_value", "value_set", "column_set") and value is not None
    }
    wanted = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in bounds.items())
    if "unexpected_count" in result:
        found = f"{result['unexpected_count']} of {result['element_count']} rows"
        if samples := [_shown(value) for value in result.get("partial_unexpected_list", ())]:
            found += f", like {', '.join(samples)}"
        return f"{found}; expected {wanted or 'none'}. {why}"
    if configuration.type == "unexpected_rows_expectation":
        return f"{result.get('observed_value')} rows; expected none. {why}"
    return f"found {_shown(result.get('observed_value'))}; expected {wanted}. {why}"


def _shown(value: Any) -> str:
    """Return a value as it may be shown: numbers, dates and plain identifiers; never an address."""
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    return text if _HARMLESS.fullmatch(text := str(value)) else "(text not shown)"


def _without_values(result: Any) -> Any:
    """Take what people wrote out of a result, before it becomes a page."""
    for one in result.results:
        for key in [
            key for key in one.result if key.startswith("partial_unexpected") and key != "partial_unexpected_list"
        ]:
            del one.result[key]
        if "partial_unexpected_list" in one.result:
            one.result["partial_unexpected_list"] = [_shown(value) for value in one.result["partial_unexpected_list"]]
    return result


def _store(context: Any, results: Sequence[tuple[Any, Any, Any]], as_of: datetime) -> None:
    """Put suites and results where GX's page builder looks for them."""
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    run_id = RunIdentifier(run_name="candidate", run_time=as_of)
    for suite, batch, result in results:
        context.suites.add_or_update(suite)
        suite_id = ExpectationSuiteIdentifier(name=suite.name)
        result.meta |= {"run_id": run_id, "validation_time": run_id.run_time}
        context.validation_results_store.store_validation_results(
            suite_validation_result=result,
            suite_validation_result_identifier=ValidationResultIdentifier(
                batch_identifier=batch.id, expectation_suite_identifier=suite_id, run_id=run_id
            ),
            expectation_suite_identifier=suite_id,
        )

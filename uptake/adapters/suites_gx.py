"""The gate before publication: Great Expectations over the candidate marts.

GX answers for the rules in `expectations/<mart>.json`; `mart_checks` for what it cannot know. Nothing in here turns
an exception into a pass: what could not be decided is a check of status `errored` or `missing`, and those hold.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from uptake.adapters.check_results import checked, protects, told
from uptake.adapters.data_docs import finish
from uptake.adapters.gx_import import great_expectations
from uptake.adapters.gx_one_statement import ask
from uptake.adapters.gx_pages import store, suite_result
from uptake.adapters.gx_verdicts import name_of, named, verdict
from uptake.adapters.mart_checks import NAMES, check_marts
from uptake.adapters.marts import MARTS
from uptake.adapters.raw_relations import open_raw
from uptake.adapters.required_checks import FILE, read_required, read_required_of_source
from uptake.errors import Refused
from uptake.ports import Build, Check

_SITE = "data_docs"


@dataclass(frozen=True)
class Suite:
    """Where a suite is, and what it is about."""

    file: str
    schema: str
    relation: str


#: What every source is asked; suites of one source are found beside its name, in `sources/`.
SUITES = (
    *(Suite(file=f"{mart}.json", schema="marts", relation=mart) for mart in MARTS),
    Suite(file="staging/stg_event_lines.json", schema="staging", relation="stg_event_lines"),
)


class GxSuites:
    """Runs the suites of one folder against a warehouse; data docs go to HOME/data_docs.

    With `docs`, each run writes them; else `build_docs` does, for the last run. One instance keeps GX imported,
    which costs seconds the first time.
    """

    #: What `run` itself always returns; a gate in which one of these did not even appear is no gate.
    own_names = NAMES | {f"gate:suite:{suite.relation}" for suite in SUITES} | {"gate:required"}
    protects = staticmethod(protects)

    def __init__(self, expectations_dir: Path, home: Path, *, docs: bool = False) -> None:
        self._expectations_dir = expectations_dir
        self._docs_dir = home.resolve() / _SITE
        self._docs = docs
        self._results: list[Any] = []
        self._suites: dict[Path, tuple[bytes, Any, list[str]]] = {}  # file -> its text, the suite, the rules' names
        self._told: tuple[tuple[Check, ...], datetime] | None = None

    @property
    def required_names(self) -> frozenset[str]:
        """The names of the committed list, and ours; `gate:required` says when the list cannot be read."""
        try:
            return self.own_names | frozenset(read_required(self._expectations_dir / FILE))
        except (OSError, ValueError):
            return self.own_names

    def run(
        self, build: Build, *, history: Sequence[Mapping[str, Any]], now: datetime | None = None
    ) -> tuple[Check, ...]:
        """Run every suite; `history` = manifests of earlier snapshots of this source; `now` None = as_of.

        Never raises for a bad suite or a bad mart: that is a check with status `errored` or `missing`.
        """
        self._results, self._told = [], (build.checks, build.as_of)
        ran = (*check_marts(build, history, now or build.as_of), *self._suite_checks(build))
        checks = (*ran, *self._missing_of_source(build.source, ran), self._required_check())
        self._told = (*build.checks, *checks), build.as_of
        if self._docs:
            try:
                self.build_docs()
            except Exception as error:  # the pages show the gate, they are not the gate
                return (*checks, checked("gate:data_docs", "errored", told(error), "warning"))
        return checks

    def tell(self, checks: Sequence[Check]) -> None:
        """Take what the front page of the data docs shows: every check of a refresh, its own ones among them."""
        if self._told is not None:
            self._told = (*checks,), self._told[1]

    def build_docs(self) -> Path:
        """Write the data docs of the last run as a static site that needs no network; return its index page."""
        if self._told is None:
            raise Refused("there are no data docs yet: no suite has run; expected a refresh first")
        draft = self._docs_dir.with_name(f".{_SITE}")
        shutil.rmtree(draft, ignore_errors=True)
        checks, as_of = self._told
        with _gx_quiet():
            context = _context(draft)
            store(context, self._results, as_of)
            context.build_data_docs(build_index=False)  # the front page is our own
        finish(draft, checks, as_of=as_of)
        shutil.rmtree(self._docs_dir, ignore_errors=True)
        draft.rename(self._docs_dir)
        return self._docs_dir / "index.html"

    def _required_check(self) -> Check:
        """Say whether the list of what must have run can be read."""
        try:
            count = len(read_required(self._expectations_dir / FILE))
        except (OSError, ValueError) as error:
            return checked("gate:required", "errored", told(error))
        return checked("gate:required", "passed", f"{count} checks must have run")

    def _missing_of_source(self, source: str, ran: Sequence[Check]) -> list[Check]:
        """Name the checks required of this source alone that did not run; `gate:required` tells of a bad list."""
        name = Path(source).stem
        try:
            required = read_required_of_source(self._expectations_dir / FILE, name)
        except (OSError, ValueError):
            return []
        message = f"did not run; expected it in every refresh of {name}"
        return [checked(check, "missing", message) for check in sorted(required.keys() - {one.name for one in ran})]

    def _suite_checks(self, build: Build) -> Iterator[Check]:
        """Validate each relation against its suite."""
        try:
            if not build.warehouse.is_file():
                raise FileNotFoundError(f"warehouse {build.warehouse.name} does not exist")
            with _gx_quiet(), duckdb.connect(str(build.warehouse), read_only=True) as warehouse:
                for suite in SUITES:
                    yield from self._run_suite(suite, warehouse, build.warehouse)
        except Exception as error:
            yield from (checked(f"gate:suite:{suite.relation}", "errored", told(error)) for suite in SUITES)
        yield from self._source_checks(build)

    def _source_checks(self, build: Build) -> Iterator[Check]:
        """Validate the raw files of a source that has suites of its own, each named after the file it reads."""
        folder = self._expectations_dir / "sources" / Path(build.source).stem
        files = sorted(folder.glob("*.json")) if build.source and build.raw is not None else []
        if not files or build.raw is None:
            return
        places = [
            Suite(file=str(file.relative_to(self._expectations_dir)), schema="raw", relation=file.stem)
            for file in files
        ]
        try:
            with _gx_quiet(), open_raw(build.raw, " ".join(file.read_text() for file in files)) as raw:
                for place in places:
                    yield from self._run_suite(place, raw, None)
        except Exception as error:
            yield from (checked(f"gate:suite:{place.relation}", "errored", told(error)) for place in places)

    def _run_suite(self, place: Suite, warehouse: duckdb.DuckDBPyConnection, path: Path | None) -> list[Check]:
        """Return a check for each expectation of one suite, and one that says whether all of it ran."""
        whole = f"gate:suite:{place.relation}"
        file = self._expectations_dir / place.file
        try:
            suite, rules = self._read(file, place.relation)
            expected = Counter(rules)
            repeated = [name for name, count in expected.items() if count > 1]
            if repeated:
                raise ValueError(f"{file.name} holds {repeated[0]} twice; give each rule its own meta.rule")
            results = _validate(suite, place, warehouse, path)
            checks = [verdict(place.relation, one, rows) for one, rows in results]
            found = Counter(check.name for check in checks)
            if found != expected:
                lost = sorted((expected - found) | (found - expected))
                raise ValueError(f"{len(checks)} results for {expected.total()} expectations; not matched: {lost[0]}")
            self._results.append((suite, suite_result(suite, [one for one, _ in results])))
        except FileNotFoundError:
            return [checked(whole, "missing", f"{file.name} does not exist; expected a suite for every mart")]
        except NoExpectations:
            return [checked(whole, "missing", f"{file.name} holds no expectation; expected at least one")]
        except Exception as error:
            return [checked(whole, "errored", told(error))]
        return [checked(whole, "passed", f"{len(checks)} expectations ran"), *checks]

    def _read(self, file: Path, relation: str) -> tuple[Any, list[str]]:
        """Read a suite, again only when its text has changed: building it takes longer than running it."""
        text = file.read_bytes()
        known = self._suites.get(file)
        if known is None or known[0] != text:
            known = self._suites[file] = (text, *read_suite(file, relation))
        return known[1], known[2]


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
    gx = great_expectations()
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

    context = _context()
    url = uptake.adapters.gx_duckdb.address(path)
    source = context.data_sources.add_sql(name="warehouse", connection_string=url)
    try:
        yield source
    finally:
        source.get_execution_engine().close()
        source.get_engine().dispose()


def _validate(
    suite: Any, place: Suite, warehouse: duckdb.DuckDBPyConnection, path: Path | None
) -> list[tuple[Any, tuple[str, ...]]]:
    """Return GX's result of every expectation, in the suite's order, with the ids of a few rows that broke it."""
    results = ask(warehouse, place.schema, place.relation, suite.expectations)
    if all(results):
        return [one for one in results if one is not None]
    if path is None:
        raise ValueError(f"{place.file}: expectations on raw files are of the kinds known to gx_one_statement")
    gx = great_expectations()
    left = [one for one, result in zip(suite.expectations, results, strict=True) if result is None]
    by_gx = gx.ExpectationSuite(name=suite.name, expectations=[one.configuration.to_domain_obj() for one in left])
    with _gx_warehouse(path) as source:
        asset = source.add_table_asset(name=place.relation, table_name=place.relation, schema_name=place.schema)
        batch = asset.add_batch_definition_whole_table("candidate").get_batch()
        # GX gives its results in an order of its own.
        found = {
            named(place.relation, one.expectation_config): one
            for one in batch.validate(by_gx, result_format={"result_format": "SUMMARY"}).results
        }
        return [
            (found[named(place.relation, one.configuration)], ()) if result is None else result
            for one, result in zip(suite.expectations, results, strict=True)
        ]


def read_suite(path: Path, mart: str) -> tuple[Any, list[str]]:
    """Read one suite in GX's own format, and the names of its expectations as the file has them.

    GX leaves out, with a line in its log, an expectation that it cannot build: what it built is therefore compared
    with what was written. Raises what is wrong with the file.
    """
    gx = great_expectations()
    raw = json.loads(path.read_bytes())
    if not isinstance(raw, dict):
        raise ValueError(f"{path.name} holds a {type(raw).__name__}, expected an object")
    if not raw.get("expectations"):
        raise NoExpectations
    if raw["name"] != mart:
        raise ValueError(f"{path.name} holds the suite {raw['name']!r}, expected {mart!r}")
    written = [
        name_of(mart, rule["type"], rule.get("kwargs", {}), rule.get("meta") or {}) for rule in raw["expectations"]
    ]
    suite = gx.ExpectationSuite(**raw)
    built = {
        name_of(mart, one.configuration.type, one.configuration.kwargs, one.meta or {}) for one in suite.expectations
    }
    for name in written:
        if name not in built:
            raise ValueError(f"{path.name}: {name} is no expectation that Great Expectations can build")
    return suite, written

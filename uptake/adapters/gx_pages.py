"""What Great Expectations' data docs are made of: results with nothing in them that people wrote."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from uptake.adapters.check_results import shown


def suite_result(suite: Any, results: list[Any]) -> Any:
    """Return what GX makes pages of."""
    from great_expectations import __version__
    from great_expectations.core import ExpectationSuiteValidationResult

    passed = sum(one.success is True for one in results)
    result = ExpectationSuiteValidationResult(
        suite_name=suite.name,
        success=passed == len(results),
        results=results,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results),
        },
        meta={"great_expectations_version": __version__, "active_batch_definition": {"batch_identifiers": {}}},
    )
    return _without_values(result)


def _without_values(result: Any) -> Any:
    """Take what people wrote out of a result, before it becomes a page."""
    for one in result.results:
        for key in [
            key for key in one.result if key.startswith("partial_unexpected") and key != "partial_unexpected_list"
        ]:
            del one.result[key]
        if "partial_unexpected_list" in one.result:
            one.result["partial_unexpected_list"] = [shown(value) for value in one.result["partial_unexpected_list"]]
    return result


def store(context: Any, results: Sequence[tuple[Any, Any]], as_of: datetime) -> None:
    """Put suites and results where GX's page builder looks for them."""
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    run_id = RunIdentifier(run_name="candidate", run_time=as_of)
    for suite, result in results:
        context.suites.add_or_update(suite)
        suite_id = ExpectationSuiteIdentifier(name=suite.name)
        result.meta |= {"run_id": run_id, "validation_time": run_id.run_time}
        context.validation_results_store.store_validation_results(
            suite_validation_result=result,
            suite_validation_result_identifier=ValidationResultIdentifier(
                batch_identifier=suite.name, expectation_suite_identifier=suite_id, run_id=run_id
            ),
            expectation_suite_identifier=suite_id,
        )

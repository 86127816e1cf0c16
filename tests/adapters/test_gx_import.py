"""What Great Expectations needs for one expectation alone is imported when that one is used."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from uptake.adapters.gx_import import great_expectations

gx = great_expectations()
assert gx.ExpectationSuite and great_expectations() is gx
early = [name for name in ("altair", "scipy.stats") if name in sys.modules]
assert not early, f"imported, or a stand-in left behind: {early}"

from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as expectation
assert round(float(expectation.stats.entropy([0.5, 0.5], [0.25, 0.75])), 4) == 0.1438
assert expectation.alt.Chart.__module__.startswith("altair.")

import scipy.stats
assert expectation.stats.entropy is scipy.stats.entropy
"""


def test_statistics_and_charts_are_imported_when_they_are_used_and_are_the_real_ones():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

from __future__ import annotations

import subprocess
import sys

ASKED = """
import sys
import duckdb, pyarrow as pa
from uptake.adapters.no_pandas import no_pandas

with no_pandas():
    pa.array(["a list"])
    duckdb.ConstantExpression("a text")
    assert "pandas" not in sys.modules
print(pa.table({"a": [1, 2]}).to_pandas()["a"].sum())
with no_pandas():
    import pandas
    print(pa.array(pandas.Series([1.0, None])).null_count)
"""


def test_nobody_imports_pandas_until_a_data_frame_is_asked_for():
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["3", "1"], "")

from unittest import mock

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from uptake.adapters import keyed_hash_duckdb
from uptake.adapters.keyed_hash_duckdb import keyed_hashes
from uptake.domain.ids import SEND, send_id

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = ("playbook", "account_id", "entry_no", "stage_key", "contact_id")
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.integers(1, 2**31 - 1), TEXTS, TEXTS), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(key=st.binary(min_size=1, max_size=100), rows=ROWS)
def test_whole_columns_get_the_ids_that_the_domain_gives_one_by_one(key, rows):
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    given_rows = pa.table({**columns, "entry_no": pa.array(columns["entry_no"], pa.int32())})
    expected = [send_id(key, **dict(zip(NAMES, row, strict=True))) for row in rows]
    assert keyed_hashes(key, SEND, given_rows, NAMES).to_pylist() == expected
    with mock.patch.object(keyed_hash_duckdb, "_FEW", 0):
        assert keyed_hashes(key, SEND, given_rows, NAMES).to_pylist() == expected


def test_rows_keep_their_order_however_many_there_are():
    numbers = pa.table({"n": range(300_000)})
    found = keyed_hashes(b"key", "row", numbers, ["n"])
    assert len(found) == len(found.unique()) == 300_000
    last = keyed_hashes(b"key", "row", numbers.slice(299_999), ["n"])
    assert found[-1] == last[0]

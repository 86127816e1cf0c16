from __future__ import annotations

import gc

import pytest

from uptake import collector


def test_nothing_is_collected_within_a_block_or_a_block_in_it_and_again_after_it_however_it_ends():
    assert gc.isenabled()
    with collector.put_off():
        with collector.put_off():
            assert not gc.isenabled()
        assert not gc.isenabled(), "the outer block goes on"
    assert gc.isenabled()
    with pytest.raises(ValueError, match="odd"), collector.put_off():
        raise ValueError("odd")
    assert gc.isenabled()


def test_who_has_turned_it_off_finds_it_off():
    gc.disable()
    try:
        with collector.put_off():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

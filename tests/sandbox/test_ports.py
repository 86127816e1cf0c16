from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from uptake.sandbox.ports import sandbox_ports


def test_a_sandbox_keeps_its_ports_because_mails_link_to_them(tmp_path: Path) -> None:
    first = sandbox_ports(tmp_path)
    assert sandbox_ports(tmp_path) == first
    assert len({first.public, first.internal, first.fakegrid}) == 3


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: sandbox_ports(tmp_path), range(16)))) == 1

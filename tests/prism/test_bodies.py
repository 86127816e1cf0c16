"""What this suite has sent is accepted by a server that somebody else wrote. Runs last: see tests/run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.prism.bodies import SENT_BODIES, keep, shape_of
from tests.prism.server import FOLDER, Prism, prism

#: A whole run sends more; with fewer this test would no longer look at what the suite sends.
AT_LEAST_BODIES, AT_LEAST_SHAPES, AT_LEAST_OF_OURS = 25, 8, 6


@pytest.fixture(scope="module")
def judge(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    if not (FOLDER / ".done").exists():
        message = "Prism is not installed; `make .prism/.done` does it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("prism")
    with prism(shared_data / "sendgrid-openapi" / "tsg_mail_v3.json", folder) as server:
        yield server


def a_body(**changes: Any) -> dict[str, Any]:
    return {
        "personalizations": [{"to": [{"email": "ana@example.com"}], "subject": "x", "custom_args": {"a": "b"}}],
        "from": {"email": "success@example.com"},
        "content": [{"type": "text/plain", "value": "x"}],
        **changes,
    }


def test_every_body_that_the_suite_has_sent_is_accepted(judge: Prism) -> None:
    if SENT_BODIES not in os.environ:
        pytest.skip(f"nothing was gathered: {SENT_BODIES} is not set, tests/run sets it")
    paths = sorted(Path(os.environ[SENT_BODIES]).glob("*.json"))
    bodies = {path.name: path.read_bytes() for path in paths}
    of_ours = [body for body in bodies.values() if b'"uptake_send_id"' in body and b"List-Unsubscribe" in body]
    refused = {name: why for name, body in bodies.items() if (why := judge.refusal(body)) is not None}
    assert refused == {}
    assert len(bodies) >= AT_LEAST_BODIES
    assert len({path.name.split("-")[0] for path in paths}) >= AT_LEAST_SHAPES
    assert len(of_ours) >= AT_LEAST_OF_OURS


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"personalizations": [{"to": [{"email": 5}]}]}, "must be string"),
        ({"personalizations": [{"to": [{"email": "nobody"}]}]}, "email"),
        ({"categories": [f"c{n}" for n in range(11)]}, "10"),
        ({"from": {"name": "nobody"}}, "email"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "1"),
    ],
)
def test_the_judge_refuses_what_the_document_forbids(judge: Prism, changes: dict[str, Any], why: str) -> None:
    assert judge.refusal(json.dumps(a_body()).encode()) is None
    refusal = judge.refusal(json.dumps(a_body(**changes)).encode())
    assert refusal is not None
    assert refusal.startswith("400")
    assert why in refusal


def test_a_few_bodies_of_each_shape_are_kept(tmp_path: Path) -> None:
    requests = tmp_path / "homes" / "some" / "fakegrid" / "requests"
    requests.mkdir(parents=True)
    for number in range(20):
        (requests / f"{number}.json").write_text(json.dumps(a_body(subject=f"{number}")))
    (requests / "other.json").write_text(json.dumps(a_body(send_at=5)))
    (requests / "later.draft").write_text("half a")
    keep(tmp_path / "homes", tmp_path / "kept")
    names = [path.name.split("-")[0] for path in (tmp_path / "kept").iterdir()]
    assert sorted(map(names.count, set(names))) == [1, 8]


def test_the_engines_own_tags_make_no_shape() -> None:
    def tagged(nonce: str) -> dict[str, Any]:
        return a_body(personalizations=[{"substitutions": {f"-u{nonce * 24}hbody-": "x"}}])

    assert shape_of(tagged("a")) == shape_of(tagged("b")) != shape_of(a_body())

"""SendGrid's own OpenAPI documents, as the judge of what is sent and answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator


class Spec:
    """One document; OpenAPI 3.1 schemas are JSON Schema 2020-12."""

    def __init__(self, path: Path) -> None:
        self._document = json.loads(path.read_text())

    def check_answer(self, path: str, method: str, status: int, answer: Any) -> None:
        """Raise AssertionError, with what is wrong, when the document does not allow this answer."""
        response = self._resolved(self._document["paths"][path][method]["responses"][str(status)])
        self._check(answer, response["content"]["application/json"]["schema"])

    def check_request(self, path: str, method: str, body: Any) -> None:
        """Raise AssertionError, with what is wrong, when the document does not allow this request."""
        request = self._resolved(self._document["paths"][path][method]["requestBody"])
        self._check(body, request["content"]["application/json"]["schema"])

    def _resolved(self, node: Any) -> Any:
        while "$ref" in node:
            found: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def _check(self, value: Any, schema: Any) -> None:
        # The schema's references lead into `components`: they are found beside it.
        whole = {**schema, "components": self._document["components"]}
        wrong = [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in
                 Draft202012Validator(whole).iter_errors(value)]  # fmt: skip
        assert not wrong, wrong

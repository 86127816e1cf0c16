"""SendGrid's own OpenAPI documents, as the judge of what is sent and answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

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

    def check_call(self, method: str, url: str, body: Any = None) -> str:
        """Raise AssertionError unless the document knows this call, its parameters and its body; return the path."""
        parts = urlsplit(url)
        paths = [path for path in self._document["paths"] if _template(path).fullmatch(parts.path)]
        assert paths, f"{parts.path} is not in the document"
        path = min(paths, key=lambda one: one.count("{"))
        operation = self._document["paths"][path][method.lower()]
        declared = [*self._document["paths"][path].get("parameters", ()), *operation.get("parameters", ())]
        known = {one["name"]: one for one in map(self._resolved, declared) if one["in"] == "query"}
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        assert given.keys() <= known.keys(), f"{path}: {sorted(given.keys() - known.keys())} are no parameters"
        for name, value in given.items():
            schema = self._resolved(known[name]["schema"])
            self._check(int(value) if schema.get("type") == "integer" else value, schema)
        missing = [name for name, one in known.items() if one.get("required") and name not in given]
        assert not missing, f"{path}: {missing} are missing"
        if body is not None or "requestBody" in operation:
            self.check_request(path, method.lower(), body)
        return path

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


def _template(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))

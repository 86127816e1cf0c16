"""YAML written by people, as strict models: every problem with its file, its line and what was expected.

It knows YAML and pydantic, and nothing about playbooks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, MappingStartEvent, ScalarEvent

from uptake.adapters.yaml_errors import model_problem, yaml_problem
from uptake.domain.playbook_values import FROM_FILE

MAX_BYTES = 100_000  # of a file
MAX_YAML = 20_000  # characters of YAML, and levels inside one another: reading more takes too long
MAX_DEPTH = 12
MAX_DIGITS = 1_000  # of a number: Python reads none of more than 4,300

_IS_NUMBER = re.compile(r"[-+]?[0-9_]+")
Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong in a file that a person wrote."""

    file: str  # relative to the checkout, e.g. `playbooks/x/playbook.yml`
    line: int  # counted from 1
    message: str

    def __str__(self) -> str:
        message = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in self.message)  # one line
        return f"{self.file}:{self.line}: {message}"


class Unreadable(Exception):
    """Nothing could be made of a file; carries why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Source:
    """A text file and the name people know it by."""

    file: str
    text: str
    first_line: int = 1  # where this text begins in the file

    def problem(self, line: int, message: str) -> Problem:
        """Return a problem at a line of this text, counted from 1."""
        return Problem(self.file, self.first_line + line - 1, message)


def read_source(path: Path, file: str) -> Source:
    """Read a file. Raises Unreadable when it is missing, too large or not UTF-8."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable([Problem(file, 1, f"{path.stat().st_size} bytes long; expected at most {MAX_BYTES}")])
        return Source(file, path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise Unreadable([Problem(file, 1, "the file is missing")]) from None
    except UnicodeDecodeError as error:
        raise Unreadable([Problem(file, 1, f"not UTF-8: byte {error.start} cannot be read")]) from None
    except OSError as error:
        raise Unreadable([Problem(file, 1, f"cannot be read: {error.strerror}")]) from None


class Document:
    """One YAML mapping that knows where each of its keys stands."""

    def __init__(self, source: Source) -> None:
        """Read it. Raises Unreadable for what is not YAML, or more of YAML than we want."""
        self.source = source
        try:
            self._refuse_machinery()
            self._root = _yaml().load(source.text)
        except MarkedYAMLError as error:
            line, message = yaml_problem(error)
            raise Unreadable([source.problem(line + 1, message)]) from None
        except YAMLError as error:  # a forbidden character
            raise Unreadable([source.problem(1, f"not YAML: {' '.join(str(error).split())}")]) from None
        if not isinstance(self._root, CommentedMap):
            raise Unreadable([source.problem(1, "expected keys and values, like `topic: product-training`")])

    def _refuse_machinery(self) -> None:
        """Refuse anchors, aliases and tags: a small file could stand for a huge one, or for an object."""
        if len(self.source.text) > MAX_YAML:
            message = f"{len(self.source.text)} characters long; expected at most {MAX_YAML}"
            raise Unreadable([self.source.problem(1, message)])
        open_: list[list[int]] = []  # of each collection around here: how many parts a turn has, how many were seen
        for event in _yaml().parse(self.source.text):
            line = event.start_mark.line + 1
            if isinstance(event, CollectionEndEvent):
                open_.pop()
            elif isinstance(event, (CollectionStartEvent, ScalarEvent)):
                is_collection = isinstance(event, CollectionStartEvent)
                if open_ and is_collection and open_[-1][0] == 2 and open_[-1][1] % 2 == 0:
                    message = "a key that is a list or keys itself; a text that begins with `{` or `[` stands in quotes"
                    raise Unreadable([self.source.problem(line, message)])
                if open_:
                    open_[-1][1] += 1
                if is_collection:
                    open_.append([2 if isinstance(event, MappingStartEvent) else 1, 0])
            is_plain = isinstance(event, ScalarEvent) and not event.style
            if is_plain and len(event.value) > MAX_DIGITS and _IS_NUMBER.fullmatch(event.value):
                message = f"a number of {len(event.value)} digits; expected at most {MAX_DIGITS}"
                raise Unreadable([self.source.problem(line, message)])
            if len(open_) > MAX_DEPTH:
                message = f"nested too deeply; expected at most {MAX_DEPTH} levels"
                raise Unreadable([self.source.problem(line, message)])
            if getattr(event, "anchor", None) is not None:  # an alias names one, too
                raise Unreadable([self.source.problem(line, "anchors and aliases are refused; write it out")])
            if (tag := getattr(event, "tag", None)) is not None:
                raise Unreadable([self.source.problem(line, f"the tag {tag} is refused; write the plain value")])

    def line(self, *location: int | str) -> int:
        """Return the line of the deepest key of this location that is there, counted from 1."""
        node: Any = self._root
        line: int = node.lc.line + 1
        for step in location:
            if isinstance(node, CommentedMap) and step in node:
                line = node.lc.key(step)[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
                line = node.lc.item(step)[0] + 1
            else:
                break
            node = node[step]
        return line

    def problem(self, message: str, *location: int | str) -> Problem:
        """Return a problem at a key: `stages.why.email: ...`."""
        where = ".".join(map(str, location))
        return self.source.problem(self.line(*location), f"{where}: {message}" if where else message)

    def parse(self, model: type[Model]) -> Model:
        """Return the document as a model. Raises Unreadable with every problem found."""
        try:
            return model.model_validate(_plain(self._root), context=FROM_FILE)
        except ValidationError as error:
            raise Unreadable(list(self._problems(error, model))) from None

    def _problems(self, error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
        for one in error.errors(include_url=False):
            location = tuple(step for step in one["loc"] if step != "[key]")
            match one["type"]:
                case "extra_forbidden":
                    known = _fields(model, location[:-1])
                    message = f"unknown key{meant(str(location[-1]), known)}"
                case "value_error":
                    message = str(one["ctx"]["error"])
                    location += getattr(one["ctx"]["error"], "location", ())
                case _:  # an address is nobody's business but the file's
                    message = model_problem(one, is_private="address" in str(location[-1:]))
            yield self.problem(message, *location)


class _Constructor(RoundTripConstructor):
    """Reads YAML as ruamel does, but leaves dates to the models, whose errors know their line."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", RoundTripConstructor.construct_yaml_str)


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.Constructor = _Constructor
    return yaml


def _plain(node: Any) -> Any:
    """Return what was read as plain dicts, lists and scalars."""
    if isinstance(node, Mapping):
        return {_plain(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item) for item in node]
    for scalar in (bool, int, float, str):  # ruamel's scalars remember how they were written
        if isinstance(node, scalar):
            return scalar(node)
    return node


def _fields(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys that may stand at a location of a model."""
    found: Any = model
    for step in location:
        fields = getattr(found, "model_fields", None)
        if fields is not None and step in fields:
            found = _model_in(fields[step].annotation)
        # Inside a dict or a list the step is a key or an index, and the model stays the same.
    return [field.alias or name for name, field in getattr(found, "model_fields", {}).items()]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def meant(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean ...?` when a known word reads alike, else what is known, if that is short."""
    alike = get_close_matches(word, known, n=1, cutoff=0.6)
    if alike:
        return f"; did you mean `{alike[0]}`?"
    return f"; expected one of {', '.join(sorted(known))}" if 0 < len(known) <= 30 else ""

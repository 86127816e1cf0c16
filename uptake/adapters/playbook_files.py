"""The playbooks folder: YAML and texts in, checked releases out, every problem with its file and line."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from uptake.adapters.catalogue_file import FeatureRow, feature_rows, mapped_feature_rows
from uptake.adapters.conditions_duckdb import Place, condition_names
from uptake.adapters.mail_values import ValueMissing, link
from uptake.adapters.playbook_texts import ALWAYS_KNOWN, Text, check_fields, check_links, read_text
from uptake.adapters.playbook_yaml import Document, Location, Problem, Source, Unreadable, meant, read_source
from uptake.adapters.source_mapping import BadMapping
from uptake.adapters.templates import check_words, compile_release
from uptake.domain.conditions import Comparison, ConditionError, Literal, Membership, Name, Node, parse
from uptake.domain.playbooks import NEXT_BEST, Playbook, Release, StageText
from uptake.domain.workspace import Window, Workspace
from uptake.errors import PlaybookError

WORKSPACE_FILE = "_workspace.yml"
LAYOUT_FILE = "_layout/mail.mjml"
PLAYBOOK_FILE = "playbook.yml"

Result = TypeVar("Result")

_STATES = frozenset({"never", "tried", "adopted", "lapsed"})
_HOUR = timedelta(hours=1)


class PlaybookFiles:
    """Reads and checks playbooks; implements `ports.Playbooks`. Nothing is kept: every call reads the files."""

    def __init__(
        self, directory: Path, *, catalogue: Path, mapping: Path | None = None, tick_interval: timedelta = _HOUR
    ) -> None:
        """Take over where everything stands.

        Args:
            directory: The folder of the playbooks.
            catalogue: The CSV file of the feature catalogue.
            mapping: A mapping that adds features to it.
            tick_interval: How often ticks come; a shorter window could be missed.
        """
        self._directory = directory
        self._catalogue = (catalogue, mapping)
        self._tick_interval = tick_interval

    def names(self) -> list[str]:
        """Return every playbook's name, sorted. Raises PlaybookError."""
        if not self._directory.is_dir():
            raise PlaybookError(f"{self._directory.name}: expected a folder of playbooks; there is none")
        return sorted(
            path.name for path in self._directory.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))
        )

    def release(self, name: str) -> Release:
        """Read and check one playbook with its texts, layout and workspace. Raises PlaybookError."""
        reader = self._reader(self._known(name))
        return _whole(reader.release(), reader.problems)

    def workspace(self) -> Workspace:
        """Read and check `_workspace.yml`. Raises PlaybookError."""
        reader = self._reader("")
        return _whole(reader.workspace, reader.problems)

    def problems(self, name: str) -> list[str]:
        """Return everything wrong with one playbook and what it rests on, each with file and line."""
        reader = self._reader(self._known(name))
        reader.release()
        return [str(problem) for problem in _in_order(reader.problems)]

    def _reader(self, name: str) -> _Reader:
        return _Reader(self._directory, self._catalogue, name, self._tick_interval)

    def _known(self, name: str) -> str:
        if name not in (names := self.names()):
            alike = get_close_matches(name, names, n=1)
            raise PlaybookError(
                f"no playbook `{name}` in {self._directory.name}/"
                + (f"; did you mean `{alike[0]}`?" if alike else f"; expected one of {', '.join(names) or 'none yet'}")
            )
        return name


class _Reader:
    """One reading of one playbook: collects problems instead of stopping at the first."""

    def __init__(
        self, directory: Path, catalogue: tuple[Path, Path | None], name: str, tick_interval: timedelta
    ) -> None:
        self.problems: list[Problem] = []
        self._tick_minutes = int(tick_interval.total_seconds() / 60)
        self._directory = directory
        self._catalogue, self._mapping = catalogue
        self._name = name

    def release(self) -> Release | None:
        """Return the release, or None when there are problems."""
        workspace, layout, playbook = self.workspace, self._read(LAYOUT_FILE), self._playbook()
        if playbook is None:
            return None
        document, definition = playbook
        self.problems += self._check_feature(document, definition)
        self.problems += self._check_conditions(document, definition)
        self.problems += _check_nothing_taught(document, definition)
        if workspace is not None:
            self.problems += self._check_window(document, definition, workspace)
        if workspace is not None and definition.topic not in workspace.topics:
            message = f"unknown topic `{definition.topic}`{meant(definition.topic, list(workspace.topics))}"
            self.problems.append(document.problem(f"{message} (topics of {WORKSPACE_FILE})", "topic"))
        texts = {
            key: text
            for key, stage in definition.stages.items()
            if stage.email is not None and (text := self._text(document, definition, key, stage.email)) is not None
        }
        words = {
            key: said
            for key, stage in definition.stages.items()
            if stage.words is not None and (said := self._words(document, definition, key, stage.words)) is not None
        }
        if self.problems or workspace is None or layout is None:
            return None
        try:
            release = Release(
                name=self._name,
                playbook=definition,
                workspace=_followed(workspace, definition),
                texts=texts,
                words=words,
                layout=layout.text,
            )
        except ValidationError:
            name = f"the folder's name {self._name!r} is no key; expected lower-case letters, digits, `-` and `_`"
            self.problems.append(document.source.problem(1, name))
            return None
        self.problems += self._check_rendering(document, release)
        return None if self.problems else release

    @cached_property
    def workspace(self) -> Workspace | None:
        """The workspace; None when it has problems."""
        if (source := self._read(WORKSPACE_FILE)) is None:
            return None
        before = len(self.problems)
        try:
            document = Document(source)
            workspace = document.parse(Workspace)
        except Unreadable as error:
            self.problems += error.problems
            return None
        if not _is_zone(workspace.default_time_zone):
            message = f"unknown time zone {workspace.default_time_zone!r}; expected a name like Europe/Berlin"
            self.problems.append(document.problem(message, "default_time_zone"))
        self.problems += self._check_length(document, workspace.window)
        return workspace if len(self.problems) == before else None

    def _read(self, file: str) -> Source | None:
        try:
            return read_source(self._directory / file, f"{self._directory.name}/{file}")
        except Unreadable as error:
            self.problems += error.problems
            return None

    def _playbook(self) -> tuple[Document, Playbook] | None:
        source = self._read(f"{self._name}/{PLAYBOOK_FILE}")
        if source is None:
            return None
        try:
            document = Document(source)
            return document, document.parse(Playbook)
        except Unreadable as error:
            self.problems += error.problems
            return None

    # --- conditions ---------------------------------------------------------------------------------

    def _check_conditions(self, document: Document, playbook: Playbook) -> Iterator[Problem]:
        yield from _check_condition(document, playbook.audience.where, "where", "audience", "where")
        if playbook.exit_when is not None:
            yield from _check_condition(document, playbook.exit_when, "exit_when", "exit_when")
        for key, stage in playbook.stages.items():
            for asked in ("when", "wait_until"):
                if (text := getattr(stage, asked)) is not None:
                    yield from _check_condition(document, text, "when", "stages", key, asked)
            for place, way in enumerate(stage.next):
                if way.when is not None:
                    yield from _check_condition(document, way.when, "when", "stages", key, "next", place, "when")
            known = condition_names("when")
            for place, name in enumerate(stage.facts):
                if name not in known:
                    message = f"unknown column `{name}`{meant(name, list(known))}"
                    yield document.problem(message, "stages", key, "facts", place)

    # --- windows ------------------------------------------------------------------------------------

    def _check_window(self, document: Document, playbook: Playbook, workspace: Workspace) -> Iterator[Problem]:
        """Yield a window that a tick could miss, or that lies outside the workspace's without saying why."""
        own, general = playbook.window, workspace.window
        if own is None:
            return
        yield from self._check_length(document, own)
        if not own.lies_within(general) and playbook.opt_out.window is None:
            days = ", ".join(general.days)
            message = f"reaches beyond the workspace's, {general.start:%H:%M} to {general.end:%H:%M} on {days}"
            yield document.problem(f"{message}; expected a narrower one, or the reason in opt_out.window", "window")

    def _check_length(self, document: Document, window: Window) -> Iterator[Problem]:
        if window.minutes < self._tick_minutes:
            message = f"{window.minutes} minutes long; a tick looks every {self._tick_minutes}, so mail could miss it"
            yield document.problem(message, "window")

    # --- features -----------------------------------------------------------------------------------

    @cached_property
    def _features(self) -> list[FeatureRow] | None:
        """Every row of the catalogue, of whatever source, and of the mapping; None when one cannot be read."""
        try:
            rows = feature_rows(self._catalogue)
            return rows if self._mapping is None else [*rows, *mapped_feature_rows(self._mapping)]
        except (Unreadable, BadMapping) as error:
            self.problems += error.problems
            return None

    def _taught(self, playbook: Playbook) -> list[FeatureRow]:
        return [one for one in self._features or () if playbook.teaches in (NEXT_BEST, one.key)]

    def _check_feature(self, document: Document, playbook: Playbook) -> Iterator[Problem]:
        if self._features is None:
            return
        keys = {feature.key for feature in self._features}
        if playbook.teaches is not None and playbook.teaches not in keys | {NEXT_BEST}:
            yield document.problem(_unknown_feature(playbook.teaches, keys | {NEXT_BEST}), "teaches")
        for key, stage in playbook.stages.items():
            if stage.goal is not None and stage.goal.feature is not None and stage.goal.feature not in keys:
                yield document.problem(_unknown_feature(stage.goal.feature, keys), "stages", key, "goal", "feature")

    def _known_fields(self, playbook: Playbook) -> frozenset[str]:
        """Return the merge fields that have a value for everybody this playbook teaches."""
        taught = self._taught(playbook)
        columns = ("name", "guide_url", "minutes_saved_per_use")
        return ALWAYS_KNOWN | {
            f"feature.{column}"
            for column in columns
            if playbook.teaches is not None and all(feature.values.get(column) for feature in taught)
        }

    def _check_guides(self, playbook: Playbook, workspace: Workspace) -> Iterator[Problem]:
        """Yield features whose guide could not be linked to: nobody would get their mail."""
        for feature in self._taught(playbook):
            url = feature.values.get("guide_url")
            try:
                if url:
                    link(url, workspace.allowed_links)
            except ValueMissing as error:
                hosts = ", ".join(workspace.allowed_links) or "none yet"
                message = f"guide_url {url!r}: {error}; {WORKSPACE_FILE} allows {hosts}"
                yield Problem(feature.file, feature.line, message)

    # --- texts --------------------------------------------------------------------------------------

    def _beside(self, document: Document, file: str, *location: str) -> Source | None:
        """Read a text in the playbook's folder."""
        if (self._directory / self._name / file).is_file():
            return self._read(f"{self._name}/{file}")
        texts = sorted(path.name for path in (self._directory / self._name).glob("*.md"))
        message = f"no text {file!r} in {self._directory.name}/{self._name}/{meant(file, texts)}"
        self.problems.append(document.problem(message, *location))
        return None

    def _words(self, document: Document, playbook: Playbook, key: str, file: str) -> str | None:
        """Read what could be said at a task: a text without front matter."""
        source = self._beside(document, file, "stages", key, "words")
        if source is None:
            return None
        if not source.text.strip():
            self.problems.append(source.problem(1, "the text is empty"))
            return None
        text = Text(StageText(subject="-", body=source.text), (source,))
        self.problems += check_fields(text, self._known_fields(playbook))
        try:
            check_words(source.text)
        except PlaybookError as error:
            self.problems.append(document.problem(str(error), "stages", key, "words"))
        return source.text

    def _text(self, document: Document, playbook: Playbook, key: str, email: str) -> StageText | None:
        source = self._beside(document, email, "stages", key, "email")
        try:
            text = read_text(source) if source is not None else None
        except Unreadable as error:
            self.problems += error.problems
            return None
        if text is None:
            return None
        self.problems += check_fields(text, self._known_fields(playbook))
        if self.workspace is not None:
            self.problems += check_links(text, self.workspace.allowed_links)
            if "feature.guide_url" in text.text.body:
                self.problems += self._check_guides(playbook, self.workspace)
        return text.text

    def _check_rendering(self, document: Document, release: Release) -> Iterator[Problem]:
        """Yield what only the renderer finds: it is the last to say what a text and a layout may hold."""
        for key in release.texts:
            try:
                compile_release(release, key)
            except PlaybookError as error:
                yield document.problem(str(error), "stages", key, "email")


def _followed(workspace: Workspace, playbook: Playbook) -> Workspace:
    """Return the workspace as it holds for this playbook."""
    exclusions = workspace.exclusions.without(playbook.opt_out)
    return workspace.model_copy(update={"exclusions": exclusions, "window": playbook.window or workspace.window})


def _unknown_feature(feature: str, keys: Collection[str]) -> str:
    alike = get_close_matches(feature, sorted(keys), n=1)
    expected = f"{NEXT_BEST} or a key of the catalogue" if NEXT_BEST in keys else "a key of the catalogue"
    return f"unknown feature `{feature}`" + (f"; did you mean `{alike[0]}`?" if alike else f"; expected {expected}")


def _check_nothing_taught(document: Document, playbook: Playbook) -> Iterator[Problem]:
    """Yield conditions on a feature in a playbook that teaches none: they would be unknown for everybody."""
    if playbook.teaches is not None:
        return
    asked: list[tuple[str | None, Location]] = [
        (playbook.audience.where, ("audience", "where")),
        (playbook.exit_when, ("exit_when",)),
    ]
    for key, stage in playbook.stages.items():
        asked += [(stage.when, ("stages", key, "when")), (stage.wait_until, ("stages", key, "wait_until"))]
        asked += [(way.when, ("stages", key, "next", place, "when")) for place, way in enumerate(stage.next)]
    for text, location in asked:
        if text is not None and any(name in text for name in ("feature.", "account_feature.")):
            yield document.problem(
                "this playbook teaches nothing, so feature.* and account_feature.* are unknown", *location
            )


def _check_condition(document: Document, text: str, place: Place, *location: str | int) -> Iterator[Problem]:
    try:
        condition = parse(text, condition_names(place))
    except ConditionError as error:
        later = (
            "; enrollment.* is known only in a stage's `when`" if "unknown column `enrollment." in str(error) else ""
        )
        yield document.problem(f"{error}{later}", *location)
        return
    for state in sorted(_impossible_states(condition.root)):
        yield document.problem(f"no adoption_state is {state!r}{meant(state, sorted(_STATES))}", *location)


def _impossible_states(node: Node) -> set[str]:
    """Return the texts that an adoption_state is compared with and can never be: a slip nobody would notice."""
    match node:
        case Comparison(Name(name), _, Literal(str() as value)) | Comparison(Literal(str() as value), _, Name(name)):
            values = {value}
        case Membership(Name(name), options):
            values = {option.value for option in options if isinstance(option.value, str)}
        case _:
            return {state for child in node.children() for state in _impossible_states(child)}
    return values - _STATES if name.endswith(".adoption_state") else set()


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems))


def _whole(result: Result | None, problems: list[Problem]) -> Result:
    if result is not None:
        return result
    first, *more = _in_order(problems)
    raise PlaybookError(f"{first}" + (f" (and {len(more)} more: `uptake check` lists them)" if more else ""))

# ruff: noqa: E501 - a table is read by its columns
"""Playbook files: what a person may write, and what they are told when they slip."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from uptake.adapters.playbook_files import PlaybookFiles
from uptake.adapters.playbook_schema import schemas, write_schemas
from uptake.adapters.playbook_yaml import MAX_BYTES
from uptake.domain.playbooks import Release
from uptake.errors import PlaybookError

PLAYBOOK = """\
teaches: dashboards
topic: product-training
audience:
  where: account.plan in ['team'] and feature.adoption_state == 'never'
goal: {within: 28d}
holdout: 10%
exit_when: account.churned
stages:
  why:
    email: why.md
  call: {task: Offer a session, after: 7d, when: account.arr >= 20000}
"""
WORKSPACE = """\
sender: {name: Success, address: success@example.com}
postal_address: 1 Example Street, Berlin
topics: {product-training: 1}
caps:
  person: {mails: 2, per: 7d}
  account: {mails: 10, per: 7d}
window:
  start: 08:00
  end: 18:00
allowed_links: [learn.example.com]
"""
TEXT = """\
---
subject: About {{ feature.name }}
preheader: Two minutes
---
Hello {{ contact.given_name|default('there') }},

[See it]({{ feature.guide_url }})
"""
LAYOUT = """<mjml><mj-body><mj-section><mj-column><mj-text>[[body]]</mj-text>
<mj-text><a href="[[unsubscribe_url]]">Stop</a> [[postal_address]]</mj-text></mj-column></mj-section></mj-body></mjml>"""
CATALOGUE = """\
source,feature_key,name,minutes_saved_per_use,guide_url
uptake,dashboards,Dashboards,6,https://learn.example.com/d
uptake,alerts,Alerts,,https://elsewhere.example/a
"""


class Folder:
    """A folder with one good playbook, to be spoilt."""

    def __init__(self, path: Path) -> None:
        self.path = path / "playbooks"
        self.catalogue = path / "dbt_project" / "seeds" / "feature_catalog.csv"
        self.write("x/playbook.yml", PLAYBOOK)
        self.write("x/why.md", TEXT)
        self.write("_workspace.yml", WORKSPACE)
        self.write("_layout/mail.mjml", LAYOUT)
        self.catalogue.parent.mkdir(parents=True)
        self.catalogue.write_text(CATALOGUE, encoding="utf-8")

    def write(self, file: str, text: str) -> None:
        path = self.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def change(self, file: str, old: str, new: str) -> None:
        text = (self.path / file).read_text(encoding="utf-8")
        assert old in text
        self.write(file, text.replace(old, new))

    @property
    def files(self) -> PlaybookFiles:
        return PlaybookFiles(self.path, catalogue=self.catalogue)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_good_playbook_becomes_a_release(folder: Folder) -> None:
    release = folder.files.release("x")
    assert folder.files.names() == ["x"]
    assert folder.files.problems("x") == []
    assert release.playbook.holdout == 0.1
    assert release.playbook.stages["call"].after == timedelta(days=7)
    assert release.texts["why"].subject == "About {{ feature.name }}"
    assert release.texts["why"].body.startswith("Hello {{ contact.given_name")
    assert release.workspace == folder.files.workspace()


def test_a_release_is_the_same_after_the_ledger_stored_it(folder: Folder) -> None:
    release = folder.files.release("x")
    again = Release.model_validate_json(release.model_dump_json())
    assert again == release
    assert again.release_hash == release.release_hash


def test_any_change_of_text_layout_or_rules_is_another_release(folder: Folder) -> None:
    seen = {folder.files.release("x").release_hash}
    for file, old, new in [
        ("x/why.md", "Hello", "Dear"),
        ("_layout/mail.mjml", "Stop", "No more"),
        ("_workspace.yml", "mails: 2", "mails: 3"),
        ("x/playbook.yml", "10%", "20%"),
    ]:
        folder.change(file, old, new)
        seen.add(folder.files.release("x").release_hash)
    assert len(seen) == 5


P, W, T = "x/playbook.yml", "_workspace.yml", "x/why.md"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (P, "email: why", "emial: why", "x/playbook.yml:10: stages.why.emial: unknown key; did you mean `email`?"),
        (P, "exit_when", "exit_wen", "x/playbook.yml:7: exit_wen: unknown key; did you mean `exit_when`?"),
        (P, "{within: 28d}", "{within: 28d, xyz: 1}", "x/playbook.yml:5: goal.xyz: unknown key; expected one of by, none, reach"),
        (P, "  where:", "  contacts: {max: 1}\n  where:", "x/playbook.yml:4: audience.contacts.max: unknown key; expected one of max_"),
        (P, "topic: product-training\n", "", "x/playbook.yml:1: topic: the key is missing"),
        (P, "28d", "28 days", "x/playbook.yml:5: goal.within: '28 days' is not a duration; expected a number and a unit"),
        (P, "10%", "0.1", "x/playbook.yml:6: holdout: 0.1 is not a share; expected a percentage from 0% to 100%"),
        (P, "10%", "101%", "x/playbook.yml:6: holdout: '101%' is not a share"),
        (P, "Offer a session", "''", "x/playbook.yml:11: stages.call.task: expected a text of at least 1 character; found ''"),
        (P, "email: why.md", "after: 1d", "x/playbook.yml:9: stages.why: a stage has either `email` or `task`"),
        (P, "email: why.md", "email: ../why.md", "x/playbook.yml:10: stages.why.email: '../why.md' is no text beside the playbook"),
        (P, "email: why.md", "email: how.md", "x/playbook.yml:10: stages.why.email: no text 'how.md' in playbooks/x/; did you mean `why.md`?"),
        (P, "  call:", "  Call:", "x/playbook.yml:11: stages.Call: 'Call' is no key; expected a lower-case letter"),
        (P, "dashboards", "dashbords", "x/playbook.yml:1: teaches: unknown feature `dashbords`; did you mean `dashboards`?"),
        (P, "dashboards", "zzz", "x/playbook.yml:1: teaches: unknown feature `zzz`; expected next_best or a key of the cat"),
        (P, "product-training", "product-trainig", "topic: unknown topic `product-trainig`; did you mean `product-training`?"),
        (P, "account.plan", "account.paln", "x/playbook.yml:4: audience.where: unknown column `account.paln`; did you mean"),
        (P, "account.churned", "account.churned()", "x/playbook.yml:7: exit_when: only the functions days(14) and date("),
        (P, "account.arr >= 20000", "account.arr", "x/playbook.yml:11: stages.call.when: `account.arr` is number; expected"),
        (P, "account.churned", "enrollment.age_days > 3", "enrollment.* is known only in a stage's `when`"),
        (P, "'never'", "'nevr'", "x/playbook.yml:4: audience.where: no adoption_state is 'nevr'; did you mean `never`?"),
        (P, "== 'never'", "in ['never', None, 'used']", "x/playbook.yml:4: audience.where: no adoption_state is 'used'"),
        (P, "account.churned", "[1, 2]", "x/playbook.yml:7: exit_when: expected a text (a number as a text stands in quotes); found a list"),
        (P, "call: {", "call: {facts: [account.ar], ", "x/playbook.yml:11: stages.call.facts.0: unknown column `account.ar`; did you mean `account.arr`?"),
        (P, "call: {", "call: {words: call.md, ", "x/playbook.yml:11: stages.call.words: no text 'call.md' in playbooks/x/"),
        (P, "email: why.md", "email: why.md\n    owner: rep", "x/playbook.yml:9: stages.why: `owner` belongs to a task, and this"),
        (P, "email: why.md", "email: why.md\n    next: cal", "x/playbook.yml:11: stages.why.next: unknown stage `cal`; did you mean `call`?"),
        (P, "call: {", "call: {next: why, ", "x/playbook.yml:11: stages.call.next: leads back to `why` without a bound; write {to: why, times"),
        (P, "call: {", "call: {next: {to: why, times: 1}, ", "x/playbook.yml:11: stages.call.next.0.times: expected at least 2; found 1"),
        (P, "email: why.md", "email: why.md\n    next: [{to: call, when: account.ar > 1}]", "stages.why.next.0.when: unknown column `account.ar`; did you"),
        (P, "email: why.md", "email: why.md\n    wait_until: account.chured\n    for: 3d", "11: stages.why.wait_until: unknown column `account.chured`"),
        (P, "email: why.md", "email: why.md\n    wait_until: account.churned", "x/playbook.yml:9: stages.why: `wait_until` and `for` go together"),
        (P, "email: why.md", "email: why.md\n    fro: 3d", "x/playbook.yml:11: stages.why.fro: unknown key; did you mean `for`?"),
        (P, "email: why.md", "email: why.md\n    goal: {feature: alrets}", "stages.why.goal.feature: unknown feature `alrets`; did you mean `alerts`?"),
        (P, "email: why.md", "email: why.md\n    goal: {feature: zzz}", "stages.why.goal.feature: unknown feature `zzz`; expected a key of the cat"),
        (P, "{within: 28d}", "none", "x/playbook.yml:5: goal: a playbook without a goal says why, like goal: {none: A survey teaches nothing}"),
        (P, "{within: 28d}", "{none: because}", "x/playbook.yml:5: goal.none: expected a text of at least 10 characters; found 'because'"),
        (P, "{within: 28d}", "{by: account}", "x/playbook.yml:5: goal: a goal has `within`, like 28d, or says why there is `none`"),
        (P, "teaches: dashboards\n", "", "x/playbook.yml:1: teaches: the key is missing; only a playbook without a goal teaches nothing"),
        (P, "holdout:", "window: {start: 07:00, end: 18:00}\nholdout:", "window: reaches beyond the workspace's, 08:00 to 18:00 on mon, tue, wed, thu, fri; expected"),
        (P, "holdout:", "window: {start: 09:00, end: 09:30}\nholdout:", "x/playbook.yml:6: window: 30 minutes long; a tick looks every 60"),
        (P, "topic:", "topic: a\ntopic:", "x/playbook.yml:3: the key `topic` stands twice here"),
        (P, "goal: {", "goal: [", "not YAML: `[` is not closed where `]` or a comma was expected"),
        (P, "goal: {", "\tgoal: {", "x/playbook.yml:5: not YAML: a tab; indent with spaces"),
        (P, "topic: ", "topic ", "x/playbook.yml:2: not YAML: no `: ` in this line; expected a key and its value"),
        (P, "topic: ", "topic: a: ", "x/playbook.yml:2: not YAML: a second `: `, or deeper than the key above it; a value"),
        (P, "topic: ", "topic: \"", "x/playbook.yml:2: not YAML: a quote that is never closed"),
        (P, "topic: ", "topic: @", "x/playbook.yml:2: not YAML: '@' begins a value; put the value in quotes"),
        (P, "account.churned", "'a' == account.plan", "x/playbook.yml:7: not YAML: the value goes on after its end"),
        (P, "  call:", "   call:", "x/playbook.yml:11: not YAML: indented otherwise than the keys beside it"),
        (P, "{within: 28d}", "adopted", "x/playbook.yml:5: goal: expected keys and values, like `{key: value}`"),
        (P, "within: 28d", "within: 28d, reach: adoptd", "goal.reach: expected 'adopted' or 'tried'; found 'adoptd'; did you mean `adopted`?"),
        (P, "topic:", "priority: high\ntopic:", "x/playbook.yml:2: priority: expected a whole number; found 'high'"),
        (P, "topic:", "exit_when:\ntopic:", "x/playbook.yml:8: the key `exit_when` stands twice here"),
        (P, "product-training", "", "x/playbook.yml:2: topic: expected a text; found nothing"),
        (T, "subject: About {{", "subject: {{", "x/why.md:2: a key that is a list or keys itself; a text that begins with `{`"),
        (P, "teaches: dashboards", "teaches: &a dashboards", "x/playbook.yml:1: anchors and aliases are refused"),
        (P, "teaches: dashboards", "teaches: !!python/object:os.system x", "x/playbook.yml:1: the tag tag:yaml.org,2002:py"),
        (P, PLAYBOOK, "- a\n", "x/playbook.yml:1: expected keys and values"),
        (P, PLAYBOOK, "", "x/playbook.yml:1: expected keys and values"),
        (P, PLAYBOOK, "[" * 200, "x/playbook.yml:1: nested too deeply; expected at most 12"),
        (P, "28d", f"'{'9' * 1_001}'", "x/playbook.yml:5: goal.within: '99999"),
        (P, "28d", "9" * 5_000, "x/playbook.yml:5: a number of 5000 digits; expected at most 1000"),
        (P, "topic:", '"to\\r\\npic": x\ntopic:', "x/playbook.yml:2: to\\r\\npic: unknown key"),
        (P, PLAYBOOK, "k" * 20_001, "x/playbook.yml:1: 20001 characters long; expected at most 20000"),
        (P, "28d", "2026-99-99", "x/playbook.yml:5: goal.within: '2026-99-99' is not a duration"),
        (P, "28d", "\x07", "x/playbook.yml:1: not YAML: unacceptable character"),
        (W, "caps:", "holidays: [2026-99-99]\ncaps:", "_workspace.yml:4: holidays.0: expected a day of the calendar, like 2026-01-31; found"),
        (P, PLAYBOOK, "#" * (MAX_BYTES + 1), f"x/playbook.yml:1: {MAX_BYTES + 1} bytes long; expected at most"),
        (W, "08:00", "8", "_workspace.yml:8: window.start: 8 is not a time of day; expected hours and minutes, like 08:00"),
        (W, "18:00", "07:00", "_workspace.yml:7: window: window ends at 07:00, which is not after its start 08:00"),
        (W, "18:00", "08:30", "_workspace.yml:7: window: 30 minutes long; a tick looks every 60, so mail could miss it"),
        (W, "window:", "window:\n  days: []", "_workspace.yml:8: window.days: expected at least 1 item; found a list"),
        (W, "caps:", "default_time_zone: Mars/Base\ncaps:", "_workspace.yml:4: default_time_zone: unknown time zone 'Mars/Base'"),
        (W, "success@example.com", "nobody", "_workspace.yml:1: sender.address: string should match pattern"),
        (T, "{{ feature.name }}", "{{ feature.nmae }}", "x/why.md:2: unknown merge field `feature.nmae`; did you mean `feature.name`?"),
        (T, "Two minutes", "'{{ account.breath }}'", "x/why.md:3: unknown merge field `account.breath`; did you mean `account.adoption_breadth`?"),
        (T, "Two minutes", "'{{ account.plam }}'", "x/why.md:3: unknown merge field `account.plam`; did you mean `account.plan`?"),
        (T, "Hello", "\n\n{{ account['plan'] }}", "x/why.md:7: `account[...]` is refused; write `account.name_of_the_column`"),
        (T, "|default('there')", "", "x/why.md:5: `contact.given_name` may be empty; write `{{ contact.given_name|default("),
        (T, "{{ feature.guide_url }}", "https://evil.example/x", "x/why.md:7: link 'https://evil.example/x': a link leads to a host"),
        (T, "({{ feature.guide_url }})", "()", "x/why.md:7: link '': a link is empty or holds characters"),
        (T, "{{ feature.guide_url }}", "http://learn.example.com/x", "x/why.md:7: link 'http://learn.example.com/x': a link does not"),
        (T, "Hello {{", "Hello {{ {{", "x/why.md:5: merge fields:"),
        (T, "Hello {{", "Hello {{" + "(" * 5_000, "x/why.md:5: merge fields: nested too deeply"),
        (T, "Hello {{", "Hello {{" + "9" * 5_000, "x/why.md:5: merge fields: a number of too many digits"),
        (T, "Hello", "{% if account.plan is jolly %}{% endif %}", "stages.why.email: playbook x, stage why: line 1: unknown"),
        (T, "---\nsubject", "subject", "x/why.md:1: expected front matter"),
        (T, "---\nHello", "Hello", "x/why.md:1: the front matter is never closed"),
        (T, "subject: About {{ feature.name }}", "subjekt: About", "x/why.md:2: subjekt: unknown key; did you mean `subject`?"),
        (T, TEXT.partition("minutes\n---\n")[2], "\n", "x/why.md:5: the text is empty"),
        (T, "Hello", "{% set a = 1 %} {{ a }}", "stages.why.email: playbook x, stage why: line 1: assign is not allowed"),
        ("_layout/mail.mjml", "[[body]]", "[[boddy]]", "the layout holds [[boddy]]"),
    ],
)  # fmt: skip
def test_a_slip_is_named_with_file_and_line(folder: Folder, file: str, old: str, new: str, expected: str) -> None:
    folder.change(file, old, new)
    problems = folder.files.problems("x")
    assert any(expected in problem for problem in problems), problems
    with pytest.raises(PlaybookError):
        folder.files.release("x")


def test_an_unknown_merge_field_is_told_once(folder: Folder) -> None:
    folder.change(T, "Two minutes", "{{ account.breath }}")
    assert len(folder.files.problems("x")) == 1


def test_a_window_is_as_long_as_ticks_are_apart(folder: Folder) -> None:
    def problems(hours: int) -> list[str]:
        apart = timedelta(hours=hours)
        return PlaybookFiles(folder.path, catalogue=folder.catalogue, tick_interval=apart).problems("x")

    assert problems(10) == []
    assert problems(11) == [
        "playbooks/_workspace.yml:7: window: 600 minutes long; a tick looks every 660, so mail could miss it"
    ]


def test_all_problems_come_at_once_in_order_and_the_first_is_raised(folder: Folder) -> None:
    folder.change(P, "account.plan", "account.paln")
    folder.change(P, "product-training", "news")
    folder.change(T, "|default('there')", "")
    problems = folder.files.problems("x")
    assert [problem.split(": ")[0] for problem in problems] == [
        "playbooks/x/playbook.yml:2",
        "playbooks/x/playbook.yml:4",
        "playbooks/x/why.md:5",
    ]
    with pytest.raises(PlaybookError, match=r"^playbooks/x/playbook\.yml:2: topic.*and 2 more"):
        folder.files.release("x")


@pytest.mark.parametrize("file", ["x/playbook.yml", "_workspace.yml", "_layout/mail.mjml"])
def test_a_missing_file_is_named(folder: Folder, file: str) -> None:
    (folder.path / file).unlink()
    assert f"playbooks/{file}:1: the file is missing" in folder.files.problems("x")


def test_a_missing_catalogue_is_named_without_the_machines_paths(folder: Folder) -> None:
    folder.catalogue.unlink()
    assert folder.files.problems("x") == ["dbt_project/seeds/feature_catalog.csv:1: the file is missing"]


def test_a_file_that_is_not_text_is_named(folder: Folder) -> None:
    (folder.path / T).write_bytes(b"---\nsubject: \xff\n---\n")
    assert folder.files.problems("x") == ["playbooks/x/why.md:1: not UTF-8: byte 13 cannot be read"]


def test_an_unreadable_workspace_is_raised_with_its_line(folder: Folder) -> None:
    folder.change(W, "caps:", "capz:")
    with pytest.raises(PlaybookError, match=r"_workspace\.yml:1: caps: the key is missing \(and 1 more"):
        folder.files.workspace()


def test_an_address_is_not_repeated_in_a_message(folder: Folder) -> None:
    folder.change(W, "success@example.com", "ana@example com")
    assert "ana@" not in "".join(folder.files.problems("x"))


def test_an_unknown_playbook_is_answered_with_the_known_ones(folder: Folder) -> None:
    folder.write("feature-breadth/playbook.yml", PLAYBOOK)
    with pytest.raises(
        PlaybookError, match=r"no playbook `feature-bredth` in playbooks/; did you mean `feature-breadth`"
    ):
        folder.files.release("feature-bredth")
    with pytest.raises(PlaybookError, match="expected one of feature-breadth, x"):
        folder.files.problems("../../etc")


def test_no_folder_is_an_error_and_a_folder_with_a_wrong_name_too(folder: Folder) -> None:
    shutil.copytree(folder.path / "x", folder.path / "Bad Name")
    assert "the folder's name 'Bad Name' is no key" in folder.files.problems("Bad Name")[0]
    shutil.rmtree(folder.path)
    with pytest.raises(PlaybookError, match="playbooks: expected a folder of playbooks"):
        folder.files.names()


def test_a_playbook_may_opt_out_of_an_exclusion_with_a_reason(folder: Folder) -> None:
    folder.write(P, PLAYBOOK + "opt_out: {too_new: The source does not know how old an account is}\n")
    exclusions = folder.files.release("x").workspace.exclusions
    assert exclusions.younger_than == timedelta(0)
    assert exclusions.churned
    folder.write(P, PLAYBOOK + "opt_out: {too_new: because}\n")
    assert (
        "playbook.yml:12: opt_out.too_new: expected a text of at least 10 characters" in folder.files.problems("x")[0]
    )


def test_a_guide_nobody_may_be_sent_to_is_named_in_the_catalogue(folder: Folder) -> None:
    folder.change(P, "dashboards", "alerts")
    (problem,) = folder.files.problems("x")
    assert problem.startswith(
        "dbt_project/seeds/feature_catalog.csv:3: guide_url 'https://elsewhere.example/a': a link"
    )


MAPPING = """\
name: shop
events: {files: "*.csv", account_id: a, event_name: e, occurred_at: t}
features:
  carts: {events: cart.*, minutes_saved_per_use: 2, guide_url: "https://learn.example.com/carts"}
  payment: pay
"""


def mapped(folder: Folder, mapping: str = MAPPING) -> PlaybookFiles:
    path = folder.path.parent / "shop.yml"
    path.write_text(mapping, encoding="utf-8")
    return PlaybookFiles(folder.path, catalogue=folder.catalogue, mapping=path)


def test_a_feature_that_only_the_mapping_names_can_be_taught(folder: Folder) -> None:
    folder.change(P, "teaches: dashboards", "teaches: carts")
    folder.change(P, "goal: {within: 28d}", "goal: {within: 28d}\n# the first page of the shop")
    assert mapped(folder).problems("x") == []
    assert mapped(folder).release("x").playbook.teaches == "carts"
    (problem,) = folder.files.problems("x")
    assert problem.startswith("playbooks/x/playbook.yml:1: teaches: unknown feature `carts`")


def test_a_slip_in_a_feature_of_the_mapping_is_told_with_file_and_line(folder: Folder) -> None:
    folder.change(P, "teaches: dashboards", "teaches: cart")
    (problem,) = mapped(folder).problems("x")
    assert problem == "playbooks/x/playbook.yml:1: teaches: unknown feature `cart`; did you mean `carts`?"
    folder.change(P, "teaches: cart", "teaches: carts")
    (problem,) = mapped(folder, MAPPING.replace("learn.example.com", "elsewhere.example")).problems("x")
    assert "shop.yml:4: guide_url 'https://elsewhere.example/carts': a link" in problem
    (problem,) = mapped(folder, MAPPING.replace("payment: pay", "payment: {events: pay, nam: x}")).problems("x")
    assert problem.endswith("shop.yml:5: features.payment.nam: unknown key; did you mean `name`?")


def test_what_the_mapping_leaves_open_needs_a_default(folder: Folder) -> None:
    folder.change(P, "teaches: dashboards", "teaches: payment")
    (problem,) = mapped(folder).problems("x")
    assert problem.startswith("playbooks/x/why.md:7: `feature.guide_url` may be empty")


def test_what_every_taught_feature_has_needs_no_default(folder: Folder) -> None:
    folder.change(T, "Hello", "{{ feature.minutes_saved_per_use }}")
    assert folder.files.problems("x") == []
    folder.change(P, "dashboards", "next_best")  # alerts has no minutes
    folder.catalogue.write_text(CATALOGUE.replace("elsewhere.example", "learn.example.com"), encoding="utf-8")
    assert "x/why.md:5: `feature.minutes_saved_per_use` may be empty" in folder.files.problems("x")[0]


GUARDED = [
    "{% if account.plan %}{{ account.plan }}{% endif %}",
    "{% if account.plan and account.arr %}{{ account.plan }} {{ account.arr }}{% endif %}",
    "{% if not account.plan %}none{% else %}{{ account.plan }}{% endif %}",
    "{% if account.plan is none %}none{% else %}{{ account.plan }}{% endif %}",
    "{% if account.plan is not none %}{{ account.plan }}{% endif %}",
    "{% if not (account.plan is none or account.arr is none) %}{{ account.plan }}{{ account.arr }}{% endif %}",
    "{% if account.plan == 'team' %}{{ account.plan }}{% endif %}",
    "{% if account.plan == 'team' %}a{% elif account.arr %}{{ account.arr }}{% endif %}",
    "{{ account.plan|d('yours') }}",
    "{{ account.plan|default('yours')|upper }}",
    "{{ account.plan or 'yours' }}",
    "{{ account.plan if account.plan else 'yours' }}",
    "{{ 'yours' if account.plan is none else account.plan }}",
    "{% if account.seats and account.seats > 3 %}many{% endif %}",
    "{% if not account.seats or account.seats > 3 %}many{% endif %}",
    "{{ account.count_contacts }} {{ sender.name }} {{ feature.adoption_state }}",
]
BARE = [
    "{{ account.plan }}",
    "{{ account.plan|upper }}",
    "{{ account.plan|default(account.region) }}",
    "{{ account.arr + 1 }}",
    "{{ 'x' if account.plan else account.plan }}",
    "{{ 'x' if account.plan == 'a' else account.plan }}",
    "{% if account.plan or account.arr %}{{ account.plan }}{% endif %}",
    "{% if account.plan %}a{% else %}{{ account.plan }}{% endif %}",
    "{% if account.plan %}a{% elif account.arr %}{{ account.plan }}{% endif %}",
    "{% if account.plan is defined %}{{ account.plan }}{% endif %}",
    "{% if account.plan != none %}{{ account.plan }}{% endif %}",
    "{% if account.seats > 3 %}many{% endif %}",
    "{% if account.plan == account.region %}{{ account.plan }}{% endif %}",
    "{{ account.arr and account.plan }}",
    "{% for x in account.health_drivers %}{{ x }}{% endfor %}",
    "{{ account.plan }}{% if account.plan %}{% endif %}",
]


@pytest.mark.parametrize("text", GUARDED)
def test_a_field_that_may_be_empty_is_allowed_with_something_in_its_stead(folder: Folder, text: str) -> None:
    folder.change(T, "Hello", text)
    assert folder.files.problems("x") == []


@pytest.mark.parametrize("text", BARE)
def test_a_field_that_may_be_empty_is_refused_without(folder: Folder, text: str) -> None:
    folder.change(T, "Hello", text)
    assert any("x/why.md:5: `account." in problem for problem in folder.files.problems("x")), text


def test_links_may_lead_to_allowed_hosts_and_mail_programs(folder: Folder) -> None:
    folder.change(T, "Hello", "[a](https://learn.example.com/x) [b](mailto:success@example.com) Hello")
    assert folder.files.problems("x") == []


def test_the_schema_files_are_current(root: Path) -> None:
    for name, text in schemas().items():
        assert (root / "playbooks" / name).read_text(encoding="utf-8") == text, (
            "run `python -m uptake.adapters.playbook_schema playbooks`"
        )


def test_schemas_are_written(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"schema.json", "workspace.schema.json"}


def test_shipped_files_name_a_schema_and_obey_it(root: Path) -> None:
    files = [*sorted((root / "playbooks").glob("*/playbook.yml")), root / "playbooks" / "_workspace.yml"]
    assert len(files) > 3
    for file in files:
        modeline, _, text = file.read_text(encoding="utf-8").partition("\n")
        assert modeline.startswith("# yaml-language-server: $schema=")
        schema = json.loads((file.parent / modeline.partition("=")[2]).read_text(encoding="utf-8"))
        found = YAML(typ="safe").load(text)
        jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(found, default=str)))


def test_every_shipped_playbook_is_in_order(root: Path) -> None:
    files = PlaybookFiles(root / "playbooks", catalogue=root / "dbt_project" / "seeds" / "feature_catalog.csv")
    names = files.names()
    assert {"feature-breadth", "scheduled-reports", "github-next-function"} <= set(names)
    assert [problem for name in names for problem in files.problems(name)] == []
    for name in names:
        lines = (root / "playbooks" / name / "playbook.yml").read_text(encoding="utf-8").splitlines()
        assert len([line for line in lines if not line.startswith("#")]) <= 20


SURVEY = """\
topic: product-training
audience: {where: account.age_days >= 60}
goal: {none: A survey teaches nothing}
holdout: 0%
stages:
  ask: {email: why.md, next: {to: ask, times: 2, when: sends.count_28d < 2}}
window: {days: [tue], start: 09:00, end: 11:00}
"""


@pytest.fixture
def survey(folder: Folder) -> Folder:
    folder.write(P, SURVEY)
    folder.change(T, "{{ feature.name }}", "you")
    folder.change(T, "{{ feature.guide_url }}", "https://learn.example.com/x")
    return folder


def test_a_survey_teaches_nothing_and_has_a_window_and_a_bounded_loop_of_its_own(survey: Folder) -> None:
    release = survey.files.release("x")
    assert (release.playbook.teaches, release.workspace.window.days) == (None, ("tue",))
    assert list(release.playbook.stages) == ["ask", "ask-2"]
    assert release.texts["ask"] == release.texts["ask-2"]
    assert Release.model_validate_json(release.model_dump_json()) == release


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (P, "account.age_days >= 60", "feature.days_used_28 > 1", "2: audience.where: this playbook teaches nothing, so feature.*"),
        (P, "sends.count_28d < 2", "account_feature.is_entitled", "6: stages.ask.next.0.when: this playbook teaches nothing, so"),
        (P, "holdout:", "exit_when: feature.days_used_28 > 1\nholdout:", "4: exit_when: this playbook teaches nothing, so feature.*"),
        (P, "ask: {", "ask: {goal: {}, ", "6: stages.ask.goal: a stage of a playbook that teaches nothing has no goal"),
        (T, "About you", "About {{ feature.name }}", "x/why.md:2: `feature.name` may be empty"),
        (P, "[tue]", "[sat]", "7: window: reaches beyond the workspace's, 08:00 to 18:00 on mon, tue, wed, thu, fri; expected a narrower one"),
    ],
)  # fmt: skip
def test_what_a_survey_gets_wrong_is_said(survey: Folder, file: str, old: str, new: str, expected: str) -> None:
    survey.change(file, old, new)
    assert expected in "\n".join(survey.files.problems("x"))


def test_a_wider_window_needs_a_reason(survey: Folder) -> None:
    survey.change(P, "[tue]", "[sat]")
    survey.change(P, "holdout:", "opt_out: {window: Nobody works on other days there}\nholdout:")
    assert survey.files.release("x").workspace.window.days == ("sat",)

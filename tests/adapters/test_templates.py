from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.adapters.mail_values import ValueMissing, display_name, harmless, header, is_address, link, link_part
from uptake.adapters.templates import compile_release
from uptake.domain.playbooks import Release, StageText
from uptake.errors import PlaybookError

LAYOUT = """<mjml lang="en"><mj-head><mj-title>[[subject]]</mj-title><mj-preview>[[preheader]]</mj-preview></mj-head>
<mj-body><mj-section><mj-column><!-- for authors --><mj-text>[[body]]</mj-text>
<mj-text>[[why]]</mj-text><mj-text><a href="[[unsubscribe_url]]">Stop these e-mails</a> [[postal_address]]</mj-text>
</mj-column></mj-section></mj-body></mjml>"""
BODY = """# Hi {{ contact.given_name | default("there") }}

{% if feature.days_used_28 == 0 %}

You *never* used **{{ feature.name }}**: [read the guide]({{ feature.guide_url }} "{{ feature.name }}").

{% endif %}

- plan `{{ account.plan }}`
- [your page](https://app.acme.example/{{ account.account_id }}?from={{ contact.role | d("mail") }}&x=1)

> <b>not HTML</b> {{ contact.given_name or "you" }} {{ feature.name }}
"""
TEXT = StageText(
    subject="{{ contact.given_name | default('You') }}, try {{ feature.name }}",
    preheader="About {{ feature.name }}",
    body=BODY,
)
URL = "https://mail.acme.example/u/token.sig"


def a_release(text: StageText = TEXT, layout: str = LAYOUT) -> Release:
    return Release.model_validate(
        {
            "name": "activate",
            "playbook": {
                "teaches": "dashboards",
                "topic": "training",
                "audience": {"where": "account.plan == 'team'"},
                "goal": {"within": "28d"},
                "holdout": "10%",
                "stages": {"why": {"email": "why.md"}},
            },
            "workspace": {
                "sender": {"name": "Ada from Acme", "address": "ada@acme.example"},
                "postal_address": "Acme & Co, 1 Road, 12345 Town",
                "topics": {"training": 7},
                "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
                "window": {"start": "09:00", "end": "17:00"},
                "allowed_links": ["docs.acme.example", "app.acme.example"],
            },
            "texts": {"why": text.model_dump()},
            "layout": layout,
        }
    )


def some_fields(**changes: dict[str, object]) -> dict[str, dict[str, object]]:
    fields: dict[str, dict[str, object]] = {
        "account": {"account_id": "a1", "plan": "team", "arr": 24000.0},
        "contact": {"given_name": "Eve", "role": "admin"},
        "feature": {
            "name": "Dashboards",
            "guide_url": "https://docs.acme.example/guide?a=1&b=2",
            "days_used_28": 0,
            "adoption_state": "never",
        },
        "account_feature": {},
        "sender": {"name": "Ada"},
    }
    for root, values in changes.items():
        fields[root] = {**fields[root], **values}
    return fields


def rendered(text: StageText = TEXT, **changes: dict[str, object]) -> tuple[str, str, str]:
    compiled = compile_release(a_release(text), "why")
    blocks = compiled.fill(some_fields(**changes), unsubscribe_url=URL)
    return blocks.subject, *compiled.whole(blocks)


class _Skeleton(HTMLParser):
    """The elements of a page with their attributes, and where it links to; no text."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [(name, value) for name, value in attrs if name not in ("title", "aria-label")]))

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(tag)

    def handle_comment(self, data: str) -> None:
        self.seen.append(("comment", data))


def skeleton(html: str) -> list[object]:
    parser = _Skeleton()
    parser.feed(html)
    parser.close()
    return parser.seen


def test_html_and_text_say_the_same():
    subject, html, text = rendered()
    assert subject == "Eve, try Dashboards"
    assert '<a href="https://docs.acme.example/guide?a=1&amp;b=2" title="Dashboards">read the guide</a>' in html
    assert "You never used Dashboards: read the guide: https://docs.acme.example/guide?a=1&b=2." in text
    assert "- plan team\n- your page: https://app.acme.example/a1?from=admin&x=1" in text
    assert "&lt;b&gt;not HTML&lt;/b&gt; Eve" in html
    assert f'<a href="{URL}">' in html
    assert URL in text
    assert "Acme &amp; Co, 1 Road" in html
    assert "Acme & Co, 1 Road" in text
    assert "we see no use of it by you yet" in html
    assert "we see no use of it by you yet" in text
    assert "for authors" not in html  # comments of the layout stay at home
    assert "<!--[if mso" in html  # but not those that Outlook needs


def test_a_statement_on_its_own_line_leaves_no_trace():
    _, html, text = rendered(feature={"days_used_28": 3})
    assert "read the guide" not in html + text
    assert "<p></p>" not in html
    assert "\n\n\n" not in text


def test_what_is_shared_holds_nothing_of_a_person():
    compiled = compile_release(a_release(), "why")
    blocks = compiled.fill(some_fields(), unsubscribe_url=URL)
    for word in ("Eve", "token.sig", "Dashboards"):
        assert word not in compiled.html + compiled.text
    assert all((tag in compiled.html) != (tag in compiled.text) for tag in blocks.substitutions)
    assert not re.search(r"\[\[|\{\{", compiled.html + compiled.text)


def test_what_is_the_same_for_all_is_shared():
    text = StageText(subject="News", preheader="Read & learn", body="Hello *you*")
    compiled = compile_release(a_release(text), "why")
    blocks = compiled.fill(some_fields(), unsubscribe_url=URL)
    assert "Read &amp; learn" in compiled.html
    assert "<em>you</em>" in compiled.html
    assert compiled.text.startswith("Hello you\n")
    assert not any("body" in tag or "preheader" in tag for tag in blocks.substitutions)


def test_tags_cannot_be_guessed():
    tags = [
        set(compile_release(a_release(TEXT.model_copy(update={"preheader": str(n)})), "why")._tagged) for n in range(2)
    ]
    assert not tags[0] & tags[1]
    assert all(re.fullmatch(r"-u[0-9a-f]{24}[ht][a-z_]+-", tag) for tag in tags[0])


def test_a_text_is_compiled_once():
    assert compile_release(a_release(), "why") is compile_release(a_release(), "why")


@pytest.mark.parametrize("source", ["{{ contact.given_name }}", "{{ contact.nickname }}", "{{ contact.arr > 5 }}"])
def test_a_missing_value_without_default_refuses_this_person(source):
    with pytest.raises(ValueMissing):
        rendered(TEXT.model_copy(update={"body": source}), contact={"given_name": None, "arr": None})


def test_a_default_stands_in_for_a_missing_value():
    text = TEXT.model_copy(update={"body": "{{ contact.given_name | default('there') }} {{ contact.nope | d('x') }}"})
    subject, _, body = rendered(text, contact={"given_name": None})
    assert body.startswith("there x\n")
    assert subject == "You, try Dashboards"


@pytest.mark.parametrize(
    "value",
    [
        "http://docs.acme.example/",
        "javascript:alert(1)",
        "https://evil.example/",
        "https://docs.acme.example.evil.example/",
        "https://docs.acme.example@evil.example/",
        "https://docs.acme.example:8443/",
        "https://docs.acme.example\\@evil.example/",
        'https://docs.acme.example/"onclick=',
        "https://docs.acme.example/\r\nX: y",
        "//docs.acme.example/",
        "https://[::1",
        "",
        None,
        7,
    ],
)
def test_a_link_from_data_leads_to_an_allowed_host_or_nowhere(value):
    with pytest.raises(ValueMissing):
        rendered(feature={"guide_url": value})


def test_a_good_link_is_kept():
    assert link("https://Docs.Acme.example/a b?x=[1]".replace(" ", "%20"), ["docs.acme.example"]) == (
        "https://docs.acme.example/a%20b?x=%5B1%5D"
    )
    assert link_part("a/b ?&#é") == "a%2Fb%20%3F%26%23%C3%A9"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[x](https://evil.example/)", "evil.example"),
        ("[x](http://docs.acme.example/)", "https://"),
        ("[x](https://{{ account.plan }}.example/)", "whole host name"),
        ("[x](ftp://docs.acme.example/)", "https://"),
        ("![x](https://evil.example/pixel.png)", "evil.example"),
        ("[x]({% if account.plan %}https://docs.acme.example/{% endif %})", "https://"),
        ("{{ account.plan.upper() }}", "call is not allowed"),
        ("{{ lipsum() }}", "not allowed"),
        ("{{ config }}", "unknown merge field 'config'"),
        ("{{ account.plan | safe }}", "unknown filter 'safe'"),
        ("{% autoescape false %}{{ account.plan }}{% endautoescape %}", "not allowed"),
        ("{% include 'x' %}", "not allowed"),
        ("{% macro a() %}{% endmacro %}", "not allowed"),
        ("{% raw %}{{ x }}{% endraw %}", "not allowed"),
        ("{# note #}", "not allowed"),
        ("{{ account.plan", "line"),
        ("{% if account.plan %}", "line"),
        ("{{ account.plan is wonderful }}", "unknown test"),
        ("{{ " + "9" * 5_000 + " }}", "too many digits"),
        ("{{ " + "(" * 5_000 + ")" * 5_000 + " }}", "nested too deeply"),
    ],
)
def test_a_text_that_could_harm_is_refused_before_anybody_gets_it(body, said):
    with pytest.raises(PlaybookError, match=re.escape(said)) as error:
        compile_release(a_release(TEXT.model_copy(update={"body": body})), "why")
    assert "playbook activate, stage why" in str(error.value)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (LAYOUT.replace("[[postal_address]]", ""), "lacks [[postal_address]]"),
        (LAYOUT.replace("[[unsubscribe_url]]", "https://x"), "lacks [[unsubscribe_url]]"),
        (LAYOUT.replace("[[why]]", "[[reason]]"), "[[reason]]"),
        (LAYOUT.replace("</mj-body>", ""), "not MJML"),
    ],
)
def test_a_layout_without_what_the_law_wants_is_refused(layout, said):
    with pytest.raises(PlaybookError, match=re.escape(said)):
        compile_release(a_release(layout=layout), "why")


def test_nothing_is_loaded_from_elsewhere():
    html = compile_release(a_release(), "why").html
    assert "@import" not in html
    assert "<link" not in html


def test_values_read_as_people_write_them():
    assert harmless(24000.0) == "24000"
    assert harmless(date(2026, 3, 2)) == "2 March 2026"
    assert harmless("Jean-Pierre") == "Jean-Pierre"
    assert harmless("Zoë 🙂") == "Zoë 🙂"


HOSTILE = [
    "{{ 7*7 }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ ''.__class__ }}",
    "${7*7} #{7*7} <%= 7*7 %>",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='x",
    "</p></div></td><!-- ",
    "--> <!--[if mso]>",
    "**bold** [x](https://evil.example) `code`",
    "Eve\r\nBcc: all@example.com",
    "Eve\nSubject: new",
    "\x00\x01\x1b[31m",
    "\u202eevE\u2066",
    "\u2028\u2029\u0085",
    "<% asm_group_unsubscribe_raw_url %>",
    "[unsubscribe] [Unsubscribe] [weblink]",
    "%name% [%first_name%] -first- -name-tag-",
    "{{{{nested}}}}",
    "[[body]] [[unsubscribe_url]]",
    "\ud800",
    "a" * 3000,
    "&lt;b&gt; &amp; &#x27;",
    "=cmd|' /C calc'!A0",
]
# Letters, and everything that means something to Jinja, HTML, Markdown, headers or SendGrid.
NASTY = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(alphabet=st.sampled_from(list("ab7*{}<>%[]-()'\"&;:\r\n\x00\u202e\u2066\ud800é/_#`=")), min_size=1),
    st.text(min_size=1),
)
BENIGN = skeleton(rendered()[1])


@given(name=NASTY, feature=NASTY, plan=NASTY)
def test_no_value_changes_elements_or_links_or_starts_a_header_or_a_tag(name, feature, plan):
    compiled = compile_release(a_release(), "why")
    fields = some_fields(contact={"given_name": name}, feature={"name": feature}, account={"plan": plan})
    blocks = compiled.fill(fields, unsubscribe_url=URL)
    html, text = compiled.whole(blocks)
    assert skeleton(html) == BENIGN
    assert "49" not in html.replace(URL, "") or "49" in name + feature + plan
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", blocks.subject)
    for part in (blocks.subject, *blocks.substitutions.values()):
        assert not re.search(r"\{\{|\}\}|\{%|<%|%>|\[[A-Za-z%\[]|%[A-Za-z]+%", part)
        part.encode()  # nothing in it that cannot be sent
    assert text.count("\nStop these e-mails or choose what you get: ") == 1


@given(name=NASTY)
def test_a_dashed_value_forms_no_substitution_tag(name):
    assert not re.search(r"-[^\s-]+-", harmless(name))


@given(name=NASTY)
def test_a_display_name_can_be_sent_or_is_left_out(name):
    shown = display_name(name)
    if shown is not None:
        assert not re.search(r"[;,<>\"\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
        assert shown == shown.strip()
        shown.encode()
    assert display_name(None) is None


@given(value=NASTY)
def test_a_header_holds_one_line_or_is_refused(value):
    try:
        assert not re.search(r"[\r\n\x00]", header(value))
    except ValueMissing:
        assert not value.strip() or not value.isprintable()


@given(value=NASTY)
def test_an_address_holds_nothing_that_could_end_it(value):
    address = f"{value}@example.com"
    if is_address(address):
        assert not re.search(r"[\s<>,;\"]", address)


@pytest.mark.parametrize("address", ["eve@example.com", "o'brien+x@sub.example.co.uk", "a_b-c@example.invalid"])
def test_usual_addresses_are_addresses(address):
    assert is_address(address)


@pytest.mark.parametrize(
    "address", [None, "", "eve", "eve@", "@example.com", "eve@localhost", "ünal@example.com", "a@b@example.com"]
)
def test_what_is_no_address_is_not_sent(address):
    assert not is_address(address)

"""Ways through a playbook: branches, bounded loops, and where an edit leaves people."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.enrollments import places
from uptake.domain.playbooks import Stage
from uptake.domain.ways import Misplaced, earliest, longest, next_stage, ways, write_out

DAY = timedelta(days=1)
KEYS = st.lists(st.sampled_from("abcdefg"), unique=True, min_size=1)


def line(order):
    return {key: Stage(email="x.md") for key in order}


def stages(**written):
    return {key: Stage.model_validate({"email": "x.md"} | stage) for key, stage in written.items()}


def walk(found, open_ways=()):
    """Walk from entry to the end; a condition holds when it is among `open_ways`."""
    walked = []
    while (key := next_stage(found, walked, places(list(found)), lambda when: when in open_ways)) is not None:
        walked.append(key)
    return walked


def at(order, ended, *earlier):
    return next_stage(line(order), ended, places(order, earlier), lambda _: None)


@pytest.mark.parametrize(
    ("order", "ended", "earlier", "expected"),
    [
        pytest.param("abc", "", [], "a", id="nobody has begun"),
        pytest.param("abc", "a", [], "b", id="the next one"),
        pytest.param("abc", "abc", [], None, id="no stage is left"),
        pytest.param("ac", "ab", ["abc"], "c", id="a removed stage moves on to the next surviving one"),
        pytest.param("ac", "a", ["abc"], "c", id="removed at the cursor"),
        pytest.param("xabc", "a", ["abc"], "b", id="added before the cursor is not sent"),
        pytest.param("axbc", "a", ["abc"], "x", id="added at the cursor is sent"),
        pytest.param("axbc", "ab", ["abc"], "c", id="added just before the cursor is not sent"),
        pytest.param("xbc", "a", ["abc"], "b", id="added in place of the last ended stage is not sent"),
        pytest.param("ab", "abc", ["abc"], None, id="the last one removed"),
        pytest.param("abcd", "abc", ["abc"], "d", id="added behind the end"),
        pytest.param("x", "abc", ["abc"], None, id="all replaced after the end: nobody begins anew"),
        pytest.param("bc", "q", [], "b", id="a key nobody knows holds nobody back"),
    ],
)
def test_the_place_is_kept_by_key(order, ended, earlier, expected):
    assert at(order, ended, *earlier) == expected


@given(old=KEYS, new=KEYS, count=st.integers(0, 7))
def test_no_ended_stage_ever_comes_again(old, new, count):
    ended = set(old[:count])
    place = at(new, ended, old)
    assert place not in ended
    assert place is None or place in new


@given(order=KEYS)
def test_an_unchanged_order_is_walked_once_from_end_to_end(order):
    walked = []
    while (key := at(order, walked, order)) is not None:
        walked.append(key)
    assert walked == order


def test_a_way_is_the_first_one_that_is_open_and_unknown_is_not_open():
    found = stages(a={"next": [{"to": "c", "when": "x"}, {"to": "d", "when": "y"}]}, b={}, c={"next": "end"}, d={})
    known = places(list(found))
    for says, expected in (({"x": True, "y": True}, "c"), ({"x": None, "y": True}, "d"), ({"x": False}, "b")):
        assert next_stage(found, ["a"], known, says.get) == expected
    assert walk(found, ["x"]) == ["a", "c"]
    assert walk(found, ["y"]) == ["a", "d"]
    assert walk(found) == ["a", "b", "c"]
    assert ways(found, "c") == [(None, None)]
    assert ways(found, "d") == [(None, None)]


def test_after_a_removed_stage_its_next_survivor_follows_whatever_way_it_had():
    found = stages(a={}, c={"next": "end"}, d={})
    known = places(list(found), [["a", "b", "c", "d"]])
    assert next_stage(found, ["a", "b"], known, lambda _: None) == "c"


def test_a_loop_is_written_out_and_left_when_its_way_back_is_closed():
    written = write_out(stages(a={}, b={}, c={"next": [{"to": "b", "when": "again", "times": 3}]}, d={}))
    assert list(written) == ["a", "b", "c", "b-2", "c-2", "b-3", "c-3", "d"]
    assert walk(written, ["again"]) == list(written)
    assert walk(written) == ["a", "b", "c", "d"]
    assert write_out(written) == written


def test_a_loop_without_a_condition_is_walked_as_often_as_it_says_and_ways_inside_stay_inside():
    inside = {"next": [{"to": "c", "when": "short"}]}
    written = write_out(stages(a=inside, b={}, c={"next": {"to": "a", "times": 2}}))
    assert walk(written, ["short"]) == ["a", "c", "a-2", "c-2"]
    assert walk(written) == ["a", "b", "c", "a-2", "b-2", "c-2"]


def test_a_loop_of_one_stage_at_the_end_leaves_by_its_other_ways():
    written = write_out(stages(a={"next": [{"to": "end", "when": "done"}, {"to": "a", "times": 2}]}))
    assert walk(written) == ["a", "a-2"]
    assert walk(written, ["done"]) == ["a"]
    closed = write_out(stages(a={"next": [{"to": "a", "when": "again", "times": 2}]}))
    assert walk(closed) == ["a"]


@pytest.mark.parametrize(
    ("written", "message", "location"),
    [
        ({"a": {"next": "bb"}, "b": {}}, "unknown stage `bb`; did you mean `b`?", ("a", "next")),
        ({"a": {"next": "zzz"}}, "unknown stage `zzz`; expected one of a, end", ("a", "next")),
        ({"a": {}, "b": {"next": "a"}}, "leads back to `a` without a bound; write {to: a, times: 3}", ("b", "next")),
        ({"a": {"next": "a"}}, "leads back to `a` without a bound", ("a", "next")),
        ({"a": {"next": {"to": "b", "times": 2}}, "b": {}}, "`times` bounds a way back, and `b` comes", ("a", "next")),
        ({"a": {"next": {"to": "end", "times": 2}}}, "`times` bounds a way back, and `end` comes later", ("a", "next")),
        ({"end": {}}, "no stage may be called `end`", ("end",)),
        ({"a": {"next": ["b", "end"]}, "b": {}}, "nothing after this way is ever tried", ("a", "next", 0)),
        (
            {"a": {}, "b": {"next": {"to": "a", "times": 2}}, "c": {"next": {"to": "b", "times": 2}}},
            "this loop overlaps another one",
            ("c", "next"),
        ),
        ({"a": {"next": {"to": "a", "times": 2}}, "a-2": {}}, "`a-2` is what the loop calls its copy of `a`", ("a-2",)),
    ],
)  # fmt: skip
def test_a_way_that_cannot_be_walked_is_refused_where_it_stands(written, message, location):
    for stage in written.values():
        if isinstance(stage.get("next"), list):
            stage["next"] = [{"to": to} for to in stage["next"]]
    with pytest.raises(Misplaced) as refused:
        write_out(stages(**written))
    assert message in str(refused.value)
    assert refused.value.location == location


def test_the_earliest_and_the_longest_way():
    found = stages(
        a={"next": [{"to": "c", "when": "x"}]}, b={"after": "5d", "next": "end"}, c={"after": "1d"}, d={"after": "2d"}
    )
    found |= stages(e={"after": "1d", "wait_until": "x", "for": "9d"})
    ends = earliest(found, lambda start, stage: start + stage.after)
    assert ends == {"a": timedelta(0), "b": 5 * DAY, "c": DAY, "d": 3 * DAY, "e": 4 * DAY}
    assert longest(found) == 13 * DAY
    assert "b" not in earliest(stages(a={"next": "c"}, b={}, c={}), lambda start, stage: start)


@st.composite
def forward(draw):
    """Any playbook whose ways lead forward, some of them on a condition."""
    order = "abcdef"[: draw(st.integers(1, 6))]
    found = {}
    for place, key in enumerate(order):
        later = st.sampled_from([*order[place + 1 :], "end"])
        found[key] = {
            "next": [{"to": draw(later), "when": w} for w in draw(st.lists(st.sampled_from("xyz"), max_size=2))]
        }
    return stages(**found)


@given(found=forward(), open_ways=st.sets(st.sampled_from("xyz")))
def test_every_walk_ends_goes_forward_and_meets_no_stage_twice(found, open_ways):
    walked = walk(found, open_ways)
    assert walked == sorted(set(walked))
    assert walked[0] == "a"


@given(found=forward(), times=st.integers(2, 5), data=st.data())
def test_a_loop_is_walked_at_most_as_often_as_it_says(found, times, data):
    last = data.draw(st.sampled_from(list(found)))
    back = data.draw(st.sampled_from([key for key in found if key <= last]))
    way = {"to": back, "when": "again", "times": times}
    found[last] = Stage.model_validate({"email": "x.md", "next": [way]})
    written = write_out(found)
    walked = walk(written, {"again"})
    assert len(walked) == len(set(walked))
    assert sum(key.split("-")[0] == last for key in walked) in (0, times)

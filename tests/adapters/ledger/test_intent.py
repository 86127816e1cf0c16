from __future__ import annotations

ANN, BOB = ("ann", "a1"), ("bob", "a1")


def test_what_ended_for_a_colleague_or_in_another_playbook_stops_nothing(world, make_world):
    (ann, _), other = world.planned(ANN, BOB), make_world(name="boards")
    other.enter(ANN, arm="holdout")
    world.claim()
    other.record(endings=[("ann", "exit_condition")])
    world.record(endings=[("bob", "goal_reached")])
    assert world.intend([ann]) == {}

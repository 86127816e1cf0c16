"""What a tick decides, said plainly: one contact at a time, by the rules of `uptake.domain`."""

from collections import defaultdict
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

from tests.adapters.journey_world import (
    DAY,
    naive,
)
from uptake.adapters.conditions_duckdb import condition_names
from uptake.adapters.marts import CONDITION_MARTS, MARTS
from uptake.domain.arms import Arm, arm_of, draw
from uptake.domain.conditions import evaluate, parse
from uptake.domain.eligibility import (
    AccountFacts,
    ContactFacts,
    Contender,
    StageFacts,
    TaskContender,
    Verdict,
    account_left_out,
    choice_order,
    contact_ending,
    contact_left_out,
    effect_of,
    enrollment_ending,
    settle,
    settle_tasks,
    stage_verdict,
)
from uptake.domain.enrollments import (
    BREATHER,
    LATEST,
    controls_complete_at,
    due_at,
    places,
    stage_orders,
    stratum,
    task_ended_at,
)
from uptake.domain.playbooks import NEXT_BEST
from uptake.domain.ways import next_stage
from uptake.domain.windows import closes_at, next_allowed


class Model:
    """The rules, one contact at a time."""

    def __init__(self, world, now):
        self.world, self.now = world, now
        self.accounts = {row["account_id"]: row for row in world.marts["accounts_current"]}
        self.zones = {row["account_id"]: row["time_zone"] for row in world.marts["dim_accounts"]}
        self.contacts = {row["contact_id"]: row for row in world.marts["contacts_current"]}
        self.account_features = {
            (row["account_id"], row["feature_key"]): row for row in world.marts["account_features"]
        }
        self.contact_features = {
            (row["contact_id"], row["feature_key"]): row for row in world.marts["contact_features"]
        }
        self.people = {row["contact_id"]: row for row in world.ledger["people"]}

    def facts(self, contact_id, account_id, feature, enrollment=None):
        own = {"adoption_state": "never", "days_used_28": 0} if feature else {}
        own |= self.contact_features.get((contact_id, feature), {})
        own |= {"contact_id": contact_id, "account_id": account_id, "feature_key": feature}
        sources = {
            "account": self.accounts.get(account_id, {}),
            "contact": self.contacts.get(contact_id, {}),
            "feature": own,
            "account_feature": self.account_features.get((account_id, feature), {}),
        }
        row = {
            f"{scope}.{name}": sources[scope].get(name)
            for scope, mart in CONDITION_MARTS.items()
            for name in MARTS[mart].names
        }
        if feature and row["feature.adoption_state"] is None:
            row["feature.adoption_state"] = "never"
        touched = [
            touch["accepted_at"]
            for touch in self.world.ledger["touches"]
            if touch["contact_id"] == contact_id and touch["is_mail"]
        ]
        row["sends.count_28d"] = sum(at > naive(self.now - 28 * DAY) for at in touched)
        row["sends.days_since_last"] = (naive(self.now) - max(touched)) // DAY if touched else None
        row["enrollment.entry_no"] = enrollment["entry_no"] if enrollment else None
        row["enrollment.age_days"] = (naive(self.now) - enrollment["enrolled_at"]) // DAY if enrollment else None
        return row

    def holds(self, text, row):
        return evaluate(parse(text, condition_names("when")), row, self.now)

    def arm(self, rules, account_id):
        for row in self.world.ledger["assignments"]:
            if (row["playbook"], row["account_id"]) == (rules.name, account_id):
                return row["arm"]
        shares = {"holdout": rules.playbook.holdout, "global_control": rules.workspace.global_control}
        return arm_of(account_id, salt=rules.name, **shares).value

    def person(self, rules, contact_id, account_id, feature):
        person = self.people.get(contact_id, {})
        address = person.get("address_hash")
        reached = {"adopted"} | ({"tried", "lapsed"} if rules.playbook.goal.reach == "tried" else set())
        by_account = rules.playbook.goal.by == "account"
        mine = self.account_features if by_account else self.contact_features
        state = mine.get((account_id if by_account else contact_id, feature), {}).get("adoption_state")
        bases = {
            row["basis"]
            for row in self.world.ledger["consents"]
            if row["address_hash"] == address and (row["expires_at"] is None or row["expires_at"] > naive(self.now))
        }
        others = {row["account_id"] for row in self.people.values() if address and row["address_hash"] == address}
        return ContactFacts(
            goal_reached=state in reached,
            erased=bool(person.get("erased")),
            in_snapshot=contact_id in self.contacts,
            has_address=bool(person.get("has_address") and address),
            suppressed=any(
                row["address_hash"] == address and row["topic"] in (None, rules.playbook.topic)
                for row in self.world.ledger["suppressions"]
            ),
            consented="none" not in (bases or {rules.workspace.consent.default_basis}),
            answered=any(
                (row["contact_id"], row["feature_key"]) == (contact_id, feature)
                for row in self.world.ledger["feature_answers"]
            ),
            shares_address_with_holdout=any(self.arm(rules, other) != Arm.TREATMENT for other in others - {account_id}),
            has_feature=rules.playbook.teaches is None
            or bool(self.account_features.get((account_id, feature), {}).get("is_entitled")),
        )

    def reached(self, goal, contact_id, account_id, feature):
        rows, who = (self.account_features, account_id) if goal.by == "account" else (self.contact_features, contact_id)
        state = rows.get((who, goal.feature or feature), {}).get("adoption_state")
        return state in {"adopted", *(("tried", "lapsed") if goal.reach == "tried" else ())}

    def entry(self, rules, by_hand=False):
        if not by_hand and rules.playbook.enter == "calendar" and rules.playbook.opens_on(self.now) is None:
            return set(), set()
        matching = defaultdict(list)
        best = {
            row["contact_id"]: row["feature_key"]
            for row in self.world.marts["feature_recommendations"]
            if row["recommendation_rank"] == 1
        }
        teaches = rules.playbook.teaches
        for contact_id, row in self.contacts.items():
            feature = best.get(contact_id) if teaches == NEXT_BEST else teaches
            if by_hand or self.holds(rules.playbook.audience.where, self.facts(contact_id, row["account_id"], feature)):
                matching[row["account_id"]].append((contact_id, feature))
        entering, left_out = set(), set()
        for account_id, people in matching.items():
            account = self.accounts[account_id]
            own = [
                row
                for row in self.world.ledger["enrollments"]
                if (row["playbook"], row["account_id"]) == (rules.name, account_id)
            ]
            ends = [row["ended_at"] for row in own if row["ended_at"]]
            facts = AccountFacts(
                churned=account["churned"],
                is_internal=account["is_internal"],
                count_open_tickets=account["count_open_tickets"],
                age_days=account["age_days"],
                is_paused=account_id in self.world.controls.accounts,
                is_in=any(row["ended_at"] is None for row in own),
                entries=len(own),
                last_ended_at=max(ends).replace(tzinfo=UTC) if ends else None,
                last_enrolled_at=max((row["enrolled_at"] for row in own), default=None),
                is_launched=any(row["playbook"] == rules.name for row in self.world.ledger["launches"]),
                matched_before_launch=any(
                    (row["playbook"], row["account_id"]) == (rules.name, account_id)
                    for row in self.world.ledger["launch_accounts"]
                ),
            )
            reason = account_left_out(facts, rules.workspace.exclusions, rules.playbook, self.now, by_hand=by_hand)
            if reason is not None:
                left_out.add((account_id, None, reason.value))
                continue
            choice = rules.playbook.audience.contacts
            chosen = []
            for contact_id, feature in people:
                why = contact_left_out(self.person(rules, contact_id, account_id, feature))
                row = self.contacts[contact_id]
                if why is not None:
                    left_out.add((account_id, contact_id, why.value))
                else:
                    order = choice_order(contact_id, row["role"], row["active_days_28"], choice.prefer)
                    chosen.append((order, contact_id, feature))
            entry_no = max((row["entry_no"] for row in own), default=0) + 1
            label = stratum(account["plan"], account["seats"])
            for rank, (_, contact_id, feature) in enumerate(sorted(chosen), start=1):
                if rank > choice.max_per_account:
                    left_out.add((account_id, contact_id, "not_chosen"))
                else:
                    arm = self.arm(rules, account_id)
                    drawn = draw(rules.name, account_id)
                    entering.add((account_id, contact_id, rank, feature, entry_no, arm, drawn, label))
        return entering, left_out

    def zone(self, rules, contact_id, account_id):
        chain = (
            self.people.get(contact_id, {}).get("time_zone"),
            self.contacts.get(contact_id, {}).get("time_zone"),
            self.zones.get(account_id),
            rules.workspace.default_time_zone,
        )
        for name in chain:
            try:
                ZoneInfo(name or "")
            except (KeyError, ValueError):
                continue
            return name
        return "UTC"

    def advance(self, releases, following, gate_held):
        endings, account_endings, due = set(), set(), []
        controls, ledger = self.world.controls, self.world.ledger
        for enrollment in ledger["enrollments"]:
            if enrollment["ended_at"] is not None or enrollment["version_id"] not in releases:
                continue
            number, account_id = enrollment["enrollment_id"], enrollment["account_id"]
            version_id = following.get(enrollment["version_id"], enrollment["version_id"])
            rules = releases[version_id]
            order = list(rules.playbook.stages)
            known = places(order, stage_orders(releases, rules.name))
            reasons, done, at_goal, standing = [], [], False, []
            for member in ledger["enrollment_contacts"]:
                if member["enrollment_id"] != number:
                    continue
                contact_id, feature = member["contact_id"], member["feature_key"]
                row = self.facts(contact_id, account_id, feature, enrollment)
                person = self.person(rules, contact_id, account_id, feature)
                by_account = rules.playbook.goal.by == "account"
                at_goal |= by_account and person.goal_reached and gate_held is None
                exits = rules.playbook.exit_when is not None and bool(self.holds(rules.playbook.exit_when, row))
                person = ContactFacts(
                    goal_reached=person.goal_reached and not by_account and gate_held is None,
                    exits=exits and gate_held is None,
                    erased=person.erased,
                    in_snapshot=person.in_snapshot or gate_held is not None,
                    has_address=person.has_address,
                    suppressed=person.suppressed,
                    consented=person.consented,
                    answered=person.answered,
                    shares_address_with_holdout=person.shares_address_with_holdout,
                )
                reason = contact_ending(person)
                mine = (number, contact_id)
                ended = {
                    end["stage_key"]: end["ended_at"]
                    for end in ledger["stage_ends"]
                    if (end["enrollment_id"], end["contact_id"]) == mine
                }
                waits = any((send["enrollment_id"], send["contact_id"]) == mine for send in ledger["open_sends"])
                for task in ledger["open_tasks"]:
                    if (task["enrollment_id"], task["contact_id"]) == mine:
                        over = task_ended_at(task["decided_at"], due_at=task["due_at"], closed_at=None)
                        if task["due_at"] + LATEST <= naive(self.now):
                            ended[task["stage_key"]] = max(over, ended.get(task["stage_key"], over))
                        else:
                            waits = True
                stages = rules.playbook.stages
                key = next_stage(stages, ended, known, lambda text, row=row: self.holds(text, row))
                if gate_held is not None:  # nobody is sent down a way that a condition opens
                    asked = []
                    next_stage(stages, ended, known, asked.append)
                    waits = waits or bool(asked)
                is_treated = enrollment["arm"] == Arm.TREATMENT
                reasons.append(reason)
                done.append(is_treated and key is None and not waits)
                if reason is None and is_treated and key is not None and not waits:
                    moments = [moment.replace(tzinfo=UTC) for moment in ended.values()]
                    enrolled_at = enrollment["enrolled_at"].replace(tzinfo=UTC)
                    due_moment = due_at(rules.playbook.stages[key].after, enrolled_at=enrolled_at, ended_at=moments)
                    if due_moment <= self.now:
                        standing.append((contact_id, feature, key, due_moment, row))
            stopped = "stop" in (controls.playbooks.get(rules.name), controls.accounts.get(account_id))
            complete = controls_complete_at(rules.playbook, enrollment["enrolled_at"]) <= naive(self.now)
            ending = enrollment_ending(
                reasons,
                done=done,
                stopped=stopped,
                at_goal=at_goal,
                controls_complete=complete and enrollment["arm"] != Arm.TREATMENT,
            )
            if ending is not None:
                account_endings.add((number, ending.value))
            else:
                due += [(enrollment, version_id, rules, *one) for one in standing]
            if not (stopped or at_goal):
                members = [m["contact_id"] for m in ledger["enrollment_contacts"] if m["enrollment_id"] == number]
                pairs = zip(members, reasons, strict=True)
                endings |= {(number, contact_id, reason.value) for contact_id, reason in pairs if reason is not None}
        return endings, account_endings, self.verdicts(due, gate_held, {number for number, _ in account_endings})

    def verdicts(self, due, gate_held, ending):
        controls, found, mails, tasks, ends = self.world.controls, {}, [], [], {}
        for enrollment, version_id, rules, contact_id, feature, key, due_moment, row in due:
            stage, account_id = rules.playbook.stages[key], enrollment["account_id"]
            window = rules.workspace.window
            zone, holidays = self.zone(rules, contact_id, account_id), rules.workspace.holidays
            opens = next_allowed(self.now, zone, window, holidays)
            paused = (
                controls.everything is not None
                or controls.playbooks.get(rules.name) == "pause"
                or controls.accounts.get(account_id) == "pause"
                or (controls.sending_locked is not None and stage.task is None)
            )
            facts = StageFacts(
                due_at=due_moment,
                is_task=stage.task is not None,
                when=True if stage.when is None else self.holds(stage.when, row),
                wait_until=True if stage.wait_until is None else self.holds(stage.wait_until, row),
                wait_for=stage.wait_for or timedelta(0),
                goal_reached=stage.goal is not None and self.reached(stage.goal, contact_id, account_id, feature),
                paused=paused,
                gate_held=gate_held is not None,
                in_window=opens <= self.now,
            )
            verdict, reason = stage_verdict(facts, self.now)
            number = enrollment["enrollment_id"]
            ends[number, contact_id] = closes_at(opens, zone, window, holidays)
            found[number, contact_id] = (key, verdict, reason, version_id, feature, due_moment)
            place = list(rules.playbook.stages).index(key)
            if verdict is Verdict.TASK:
                dedupe_key = stage.dedupe_key(rules.name, key)
                rank = (rules.playbook.priority, rules.name, place, number)
                task = TaskContender(rank=rank, account_id=account_id, dedupe_key=dedupe_key, stage_key=key)
                tasks.append(((number, contact_id), task))
            if verdict is Verdict.SEND:
                rank = (rules.playbook.priority, rules.name, place, contact_id, number)
                mails.append(self.contender(rank, rules, contact_id, account_id))
        for mail, reason in zip(mails, settle(mails), strict=True):
            if reason is not None:
                number, contact_id = mail.rank[4], mail.rank[3]
                key, _, _, *rest = found[number, contact_id]
                found[number, contact_id] = (key, effect_of(reason), reason, *rest)
        held = {
            (task["account_id"], task["dedupe_key"]): (task["enrollment_id"], task["stage_key"])
            for task in self.world.ledger["open_tasks"]
            if task["enrollment_id"] not in ending
        }
        for (mine, _), reason in zip(tasks, settle_tasks([task for _, task in tasks], held), strict=True):
            if reason is not None:
                key, _, _, *rest = found[mine]
                found[mine] = (key, effect_of(reason), reason, *rest)
        return {(*key, *rest, ends[key] if rest[1] is Verdict.SEND else None) for key, rest in found.items()}

    def contender(self, rank, rules, contact_id, account_id):
        address = self.people[contact_id]["address_hash"]
        accounts = {row["enrollment_id"]: row["account_id"] for row in self.world.ledger["enrollments"]}
        ways = self.world.ledger["open_sends"]
        caps, touches = rules.workspace.caps, self.world.ledger["touches"]
        of_person = sum(
            touch["address_hash"] == address and touch["accepted_at"] > naive(self.now - caps.person.per)
            for touch in touches
        ) + sum(self.people.get(way["contact_id"], {}).get("address_hash") == address for way in ways)
        of_account = sum(
            touch["account_id"] == account_id and touch["accepted_at"] > naive(self.now - caps.account.per)
            for touch in touches
        ) + sum(accounts[way["enrollment_id"]] == account_id for way in ways)
        return Contender(
            rank=rank,
            address_hash=address,
            account_id=account_id,
            person_room=caps.person.mails - of_person,
            account_room=caps.account.mails - of_account,
            just_mailed=any(
                touch["address_hash"] == address and touch["accepted_at"] > naive(self.now - BREATHER)
                for touch in touches
            )
            or any(
                way["status"] in ("planned", "claimed", "sending")
                and self.people.get(way["contact_id"], {}).get("address_hash") == address
                for way in ways
            ),
        )

"""Rules beside the cap: nobody who is bound by them ever breaks one, in any combination."""

from typing import Any

import numpy as np
import pytest
from blocks import Eager, decisions, user_times
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_book import KINDS, Made, faults, rule_settings, rules_of

from engagex_sim.cap import DAY, Cap
from engagex_sim.decisions import Decisions
from engagex_sim.env import EngageXEnv
from engagex_sim.errors import InputError
from engagex_sim.features import History
from engagex_sim.policy import Context
from engagex_sim.rules import NO_RULES, Rules, rule_notes
from engagex_sim.settings import Settings
from engagex_sim.simulate import simulate
from engagex_sim.timeline import Timeline

HOUR = 3600


def often(context: Context) -> Any:
    return np.full((len(context), len(context.kinds)), 0.3)


class Restless(Eager):
    """Contacts with probability 0.8 wherever any kind is open."""

    def action_probabilities(self, context: Context) -> Any:
        answer = super().action_probabilities(context)
        answer[:, 1:] *= 0.8
        answer[:, 0] = 1 - answer[:, 1:].sum(axis=1)
        return answer


@st.composite
def logs(draw: st.DrawFn) -> Decisions:
    """Users with contacts of several kinds before the evaluation and in it."""
    times = draw(user_times(max_users=3))
    actions = [[draw(st.integers(0, 3)) for _ in user] for user in times]
    rewards = [[int(a > 0 and draw(st.integers(0, 3)) == 0) for a in user] for user in actions]
    return decisions(times, actions, rewards, kinds=KINDS, evaluation_start=10.0)


def history_before(whole: Timeline) -> list[list[Made]]:
    """Each user's contacts before the evaluation."""
    early = (whole.action > 0) & (whole.time < whole.evaluation_start[whole.user_of_row])
    return [
        [
            Made(int(whole.time[row]), KINDS[whole.action[row] - 1], bool(whole.reward[row]), False)
            for row in np.flatnonzero(early & (whole.user_of_row == user))
        ]
        for user in range(whole.n_users)
    ]


@settings(max_examples=150)
@given(logs(), rule_settings(), st.sampled_from([None, "contacts_so_far", "days_since_contact"]), st.integers(0, 3))
def test_no_simulated_contact_breaks_a_rule(log: Decisions, own: Settings, reads: str | None, seed: int) -> None:
    whole = Timeline.of(log, Cap(own.cap_days))
    timeline = whole.evaluation().under(Rules.of(own, KINDS))
    run = simulate(timeline, Restless(reads), often, np.random.default_rng(seed))
    for user, before in enumerate(history_before(whole)):
        rows = np.flatnonzero((run.action > 0) & (timeline.user_of_row == user))
        made = [
            Made(int(timeline.time[r]), KINDS[run.action[r] - 1], bool(run.reward[r]), under_trial=True) for r in rows
        ]
        assert faults([*before, *made], own) == []


@settings(max_examples=60)
@given(logs(), rule_settings(), st.lists(st.integers(0, 3), min_size=14, max_size=14), st.integers(0, 3))
def test_no_sequence_of_actions_breaks_a_rule_in_the_environment(
    log: Decisions, own: Settings, wishes: list[int], seed: int
) -> None:
    whole = Timeline.of(log, Cap(own.cap_days))
    timeline = whole.evaluation().under(Rules.of(own, KINDS))
    if len(timeline) == 0:
        return
    env = EngageXEnv(timeline, often)
    _, info = env.reset(seed=seed)
    made = history_before(whole)[int(np.flatnonzero(timeline.user_id == info["user"])[0])]
    over = False
    for wish in wishes:
        if over:
            break
        legal, time = bool(info["action_mask"][wish]), info["time"]
        hypothetical = Made(time, KINDS[wish - 1], liked=False, under_trial=True)
        assert wish == 0 or legal == (faults([*made, hypothetical], own) == faults(made, own))
        _, reward, over, _, info = env.step(np.int64(wish))
        assert info["illegal_action"] is not legal
        if wish > 0 and legal:
            made = [*made, Made(time, KINDS[wish - 1], bool(reward), under_trial=True)]
    assert faults(made, own) == []


@given(logs(), rule_settings())
def test_the_mask_after_the_logged_contacts_is_open_where_one_more_would_break_no_rule(
    log: Decisions, own: Settings
) -> None:
    whole = Timeline.of(log, Cap(own.cap_days))
    timeline = whole.evaluation().under(Rules.of(own, KINDS))
    mask = timeline.context().mask
    for row in range(len(timeline)):
        earlier = (whole.user_of_row == timeline.user_of_row[row]) & (whole.time < timeline.time[row])
        made = [
            Made(int(whole.time[r]), KINDS[whole.action[r] - 1], bool(whole.reward[r]), under_trial=False)
            for r in np.flatnonzero(earlier & (whole.action > 0))
        ]
        for k, kind in enumerate(KINDS):
            one_more = Made(int(timeline.time[row]), kind, liked=False, under_trial=True)
            assert mask[row, k + 1] == (faults([*made, one_more], own) == [])


def test_the_kinds_that_are_open_by_hand() -> None:
    """Cap 7 days; letters 28 days apart; service messages exempt, but 1 day apart."""
    rules = rules_of(cap_days=7, kind_cap={"letter": 28, "service": 1}, exempt=["service"])
    day = np.array([[0, -100, -100], [-100, 0, -100], [-100, -100, 0], [0, -9, -0.5]])
    history = History(*[np.zeros(4, dtype=np.int64)] * 3, last_of_kind=np.int64(day * DAY))

    def open_at(now: float) -> list[str]:
        mask = rules.allowed(np.full(4, round(now * DAY)), history, Cap(7), 3)
        return ["".join(kind[0] for kind, is_open in zip(KINDS, row, strict=True) if is_open) for row in mask]

    assert open_at(0.4) == ["s", "s", "el", ""]
    assert open_at(6.9) == ["s", "s", "els", "s"]
    assert open_at(7) == ["els", "es", "els", "es"]
    assert open_at(19) == ["els", "es", "els", "els"]
    assert open_at(28) == ["els", "els", "els", "els"]
    sets = {"".join(kind[0] for kind, is_open in zip(KINDS, mask, strict=True) if is_open) for mask in rules.masks}
    assert sets == {"els", "el", "es", "e", "s"}
    assert rules.masks[0] == (True, True, True)


@pytest.mark.parametrize(("hours", "open_hours"), [((22, 8), range(8, 22)), ((0, 12), range(12, 24)), ((9, 10), None)])
def test_quiet_hours_begin_and_end_on_the_hour(hours: tuple[int, int], open_hours: Any) -> None:
    time = np.arange(24) * HOUR + 5 * DAY
    awake = Rules(quiet=hours).awake(np.concatenate([time, time + HOUR - 1]))
    expected = set(open_hours or set(range(24)) - {9})
    assert [set(np.flatnonzero(part).tolist()) for part in np.split(awake, 2)] == [expected, expected]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"kind_cap": "fax=28"}, "There is no kind of contact 'fax' in this log; there are: email, letter, service."),
        ({"exempt": "fax"}, "There is no kind of contact 'fax'"),
        ({"kind_cap": "email=7"}, "The cap of email, 7 days, is shorter than the general one of 14 days"),
    ],
)
def test_a_rule_that_does_not_suit_the_log_is_refused_in_one_sentence(asked: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Rules.of(Settings(**asked), KINDS)


@pytest.mark.parametrize(
    "asked", [{"kind_cap": "email"}, {"kind_cap": "email=0"}, {"quiet_hours": "22"}, {"quiet_hours": "8-8"}]
)
def test_a_rule_that_says_nothing_is_refused(asked: Any) -> None:
    with pytest.raises(ValueError, match="Input should be"):
        Settings(**asked)


def test_rules_as_text_are_those_as_values() -> None:
    text = Settings(kind_cap="email=28, letter=60", exempt="service", quiet_hours="22-8")
    assert text == Settings(kind_cap={"email": 28, "letter": 60}, exempt=("service",), quiet_hours=(22, 8))
    assert Rules.of(Settings(), KINDS) == NO_RULES
    written = {name: text.resolved()[name] for name in ("kind_cap", "exempt", "quiet_hours")}
    assert written == {"kind_cap": "email=28,letter=60", "exempt": "service", "quiet_hours": "22-8"}
    assert Settings(**written) == text


def test_rules_need_a_log_in_which_contacting_is_a_choice() -> None:
    with pytest.raises(InputError, match="contacting is not a choice"):
        Rules.of(Settings(stop_after_interest=True), KINDS, is_choice=False)
    with pytest.raises(InputError, match="by day"):
        Rules.of(Settings(quiet_hours="22-8"), KINDS, by_day=True)


def test_a_kind_cap_that_is_longer_than_the_known_history_says_so() -> None:
    (_, said, _) = rule_notes(Settings(kind_cap={"letter": 60}))
    assert said.startswith("The cap of letter is longer than the 14 days before the evaluation")
    assert len(rule_notes(Settings(kind_cap={"letter": 60}, burn_in_days=60))) == 2

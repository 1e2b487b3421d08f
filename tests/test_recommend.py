"""Recommendations: who is contacted at a moment, within the cap and the limits, from nothing that comes later."""

import json
import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from blocks import Eager
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_book import KINDS, Made, faults, rule_settings
from sklearn.linear_model import LogisticRegression

from engagex_sim.cap import DAY
from engagex_sim.execution import in_turn, workers
from engagex_sim.interop import ClassifierPolicy
from engagex_sim.log import read_blocks, read_log
from engagex_sim.moment import Moment
from engagex_sim.policy import Context
from engagex_sim.preparation import prepare
from engagex_sim.recommend import Recommender, learn, recommendations
from engagex_sim.recommended import CONTACT, Limit
from engagex_sim.settings import Settings
from engagex_sim.worlds import WORLDS, frames, tables
from experiments.run import main
from policies.lin_ucb import LinUcb

START = pd.Timestamp("2024-05-01")
HOURS = 40 * 24


class Chance:
    """Contacts with probability 0.3, shared among the kinds."""

    name = "chance"

    def action_probabilities(self, context: Context) -> Any:
        kinds = 0.3 * context.mask[:, 1:] / context.mask[:, 1:].sum(axis=1, keepdims=True)
        return np.column_stack([1 - kinds.sum(axis=1), kinds])


class Ranked(Eager):
    """Contacts always, and ranks by the minute of the latest visit, which many users share."""

    name = "ranked"

    def action_scores(self, context: Context) -> Any:
        return np.repeat((context["trigger"] % 5)[:, None], len(context.kinds), axis=1)


@st.composite
def logs_of_kinds(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Visits and contacts of three kinds with their results, one of each kind at the beginning, and an hour."""
    triggers = [("first", START, 1, "visit"), ("second", START, 1, "visit")]
    actions = [("first", START + pd.Timedelta(seconds=k), int(k == 0), kind) for k, kind in enumerate(KINDS)]
    for user in range(draw(st.integers(1, 5))):
        hours = sorted(draw(st.lists(st.integers(0, HOURS), min_size=1, max_size=8, unique=True)))
        triggers += [(f"u{user}", START + pd.Timedelta(hours=h), h, "visit") for h in hours]
        own = [h for h in hours if draw(st.booleans())] + draw(st.lists(st.integers(0, HOURS), max_size=1))
        actions += [
            (f"u{user}", START + pd.Timedelta(hours=h), int(draw(st.integers(0, 4)) == 0), draw(st.sampled_from(KINDS)))
            for h in sorted(set(own))
        ]
    return (
        pd.DataFrame(triggers, columns=["guid", "date", "trigger", "type"]),
        pd.DataFrame(actions, columns=["guid", "date", "result", "action"]),
        draw(st.integers(24, HOURS)),
    )


@settings(max_examples=60)
@given(logs_of_kinds(), rule_settings())
def test_no_recommended_contact_breaks_a_rule(log: Any, asked: Settings) -> None:
    """Who waits is allowed a contact again at the time that is given, and not a second before it."""
    triggers, actions, hour = log
    now = START + pd.Timedelta(hours=hour)
    reading = {"triggers_are": "opportunities", "decision_points": "trigger", "burn_in_days": 0, "allow_orphans": 1.0}
    own = asked.model_copy(update={**reading, "until": seconds(now)})
    with read_blocks(triggers, actions, settings=own) as read:
        found = table(Recommender(read, Known(Eager()), own, seconds(now))).set_index("guid")
    came = set(triggers.loc[triggers["date"] <= now, "guid"])
    for guid, row in found.iterrows():
        logged = actions[(actions["guid"] == guid) & (actions["date"] <= now)].sort_values("date")
        made = [
            Made(seconds(contact.date), contact.action, bool(contact.result), under_trial=False)
            for contact in logged.itertuples()
        ]

        def open_at(time: int, made: list[Made] = made) -> set[str]:
            return {kind for kind in KINDS if not faults([*made, Made(time, kind, False, under_trial=True)], own)}

        if row["decision"] == CONTACT:
            assert row["kind"] in open_at(seconds(now))
        assert (row["decision"] == CONTACT) == (guid in came and bool(open_at(seconds(now))))
        if own.stop_after_interest and logged["result"].any():
            assert pd.isna(row["next_eligible"])
        else:
            eligible = seconds(pd.Timestamp(row["next_eligible"]))
            assert open_at(eligible)
            assert eligible == seconds(now) or not open_at(eligible - 1)


@dataclass(frozen=True)
class Known:
    """Stands for what was learned: a policy, the current strategy, and the same interest everywhere."""

    policy: Any
    logging: Any = field(default_factory=Chance)

    @property
    def policies(self) -> tuple[Any, ...]:
        return (self.policy,)

    def interest(self, context: Context) -> Any:
        return np.full((len(context), len(context.kinds)), 0.1)


def seconds(moment: pd.Timestamp) -> int:
    return int((moment - pd.Timestamp(0)).total_seconds())


def table(recommender: Recommender, limit: Limit | None = None, over: Any = in_turn) -> pd.DataFrame:
    return pd.concat([block.table for block in recommendations(recommender, limit, over)], ignore_index=True)


@st.composite
def logs(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Visits, contacts that follow one within a few hours, contacts out of nowhere, and an hour of the log."""
    triggers, actions = [], []
    for user in range(draw(st.integers(2, 6))):
        hours = draw(st.lists(st.integers(0, HOURS), min_size=1, max_size=8, unique=True))
        own = {h + draw(st.sampled_from([0, 0, 5])) for h in hours if draw(st.booleans())}
        own |= set(draw(st.lists(st.integers(0, HOURS), max_size=2)))
        triggers += [(f"u{user}", START + pd.Timedelta(hours=h), h, "visit") for h in sorted(hours)]
        actions += [(f"u{user}", START + pd.Timedelta(hours=h), int(h % 2)) for h in sorted(own)]
    triggers += [("first", START, 1, "visit"), ("second", START, 1, "visit")]
    actions += [("first", START, 1)]
    columns = ["guid", "date", "trigger", "type"]
    at = draw(st.integers(24, HOURS))
    return pd.DataFrame(triggers, columns=columns), pd.DataFrame(actions, columns=["guid", "date", "result"]), at


@settings(max_examples=40)
@given(logs(), st.sampled_from([0, 1, 7, 14]), st.sampled_from(["trigger", "day"]))
def test_the_cap_holds_against_every_logged_contact(log: Any, cap: int, points: str) -> None:
    """Contacted is who came and was not contacted within the cap, whether or not a visit explains that contact.

    Where decisions are by day, contacts that belong to a visit count by day.
    """
    triggers, actions, hour = log
    now = START + pd.Timedelta(hours=hour)
    own = Settings(
        cap_days=cap,
        triggers_are="opportunities",
        decision_points=points,
        burn_in_days=0,
        allow_orphans=1.0,
        until=seconds(now),
    )
    with read_blocks(triggers, actions, settings=own) as read:
        found = table(Recommender(read, Known(Eager()), own, seconds(now))).set_index("guid")
    came = triggers[triggers["date"] <= now]
    made = actions[actions["date"] <= now]
    assert set(found.index) == set(came["guid"]) | set(made["guid"])
    for guid, row in found.iterrows():
        last = made.loc[made["guid"] == guid, "date"].max()
        eligible, contacted = pd.Timestamp(row["next_eligible"]), row["decision"] == CONTACT
        assert contacted == (eligible == now and guid in set(came["guid"]))
        if points == "trigger":
            assert eligible == (now if pd.isna(last) else max(last + pd.Timedelta(days=cap), now))
        elif contacted and not pd.isna(last):
            assert (now.normalize() - last.normalize()).days >= cap


def test_the_context_is_the_latest_visit_with_the_calendar_of_the_moment_and_all_history() -> None:
    day = "2024-05-%02d 10:00:00"
    triggers = pd.DataFrame(
        [("a", day % 1, 7, "x"), ("a", day % 3, 8, "y"), ("a", "2024-05-03 12:00:00", 9, "z"), ("b", day % 2, 7, "x")],
        columns=["guid", "date", "trigger", "type"],
    )
    actions = pd.DataFrame([("a", day % 1, 1), ("b", day % 2, 0)], columns=["guid", "date", "result"])
    own = Settings(cap_days=2, burn_in_days=0, triggers_are="opportunities")
    at = seconds(pd.Timestamp("2024-05-05 18:30:00"))
    moment = Moment.of(read_log(triggers, actions, settings=own), own, at)
    context = moment.context(np.array([0, 1]))
    assert context["type"].tolist() == ["z", "x"]
    assert context["hour"].tolist() == [18, 18]
    assert context["weekday"].tolist() == [6, 6]  # a Sunday
    assert context["day"].tolist() == [4, 4]
    assert context["triggers_7d"].tolist() == [3, 1]  # as at the latest visit
    assert context["days_since_contact"] == pytest.approx([4 + 8.5 / 24, 3 + 8.5 / 24])
    assert context["contacts_so_far"].tolist() == [1, 1]
    assert context["interests_so_far"].tolist() == [1, 0]
    by_day = own.model_copy(update={"decision_points": "day"})
    moment = Moment.of(read_log(triggers, actions, settings=by_day), by_day, at)
    assert moment.context(np.array([0]))["type"].tolist() == ["y"]  # the first of the day describes it
    assert (moment.time - seconds(pd.Timestamp("2024-05-05"))) == 0


def test_where_contacting_is_no_choice_the_cap_holds_nobody_back() -> None:
    """Only the kind is chosen; a contact of the day before forbids none today."""
    day = "2024-05-%02d 10:00:00"
    sent = pd.DataFrame([("a", day % 1, 7, "x"), ("a", day % 5, 8, "y"), ("b", day % 2, 7, "x")])
    triggers, actions = sent.set_axis(["guid", "date", "trigger", "type"], axis=1), sent[[0, 1]].assign(result=1)
    own = Settings(cap_days=14, triggers_are="contacts", decision_points="trigger")
    log, at = read_log(triggers, actions.set_axis(["guid", "date", "result"], axis=1), settings=own), 19_849 * DAY
    moment = Moment.of(log, own, at)
    assert not log.facts.contact_is_a_choice
    assert moment.free.all()
    assert moment.next_eligible.tolist() == [at, at]
    assert moment.context(np.array([0, 1])).mask.tolist() == [[False, True, True]] * 2


@pytest.fixture(scope="module")
def visits() -> Any:
    """A log of 400 users in blocks of some, as of its tenth day before the end."""
    made = tables(WORLDS["visits"], 400, seed=3)
    until = seconds(made.triggers["date"].max()) - 10 * DAY
    own = Settings(grid="light", folds=2, n_boot=50, until=until, threads=1)
    with read_blocks(made.triggers, made.actions, made.users, own, rows_per_block=1500) as log:
        assert len(log) > 2
        yield Recommender(log, Known(Ranked()), own, until)


def test_a_capacity_is_kept_exactly_by_the_best(visits: Recommender) -> None:
    everybody = table(visits)
    wanted = everybody["decision"] == CONTACT
    assert wanted.sum() > 100
    found = table(visits, Limit(100, "there is no more room"))
    kept = found["decision"] == CONTACT
    assert kept.sum() == 100
    assert (wanted | ~kept).all()
    turned_away = found[wanted & ~kept]
    assert found.loc[kept, "score"].min() >= turned_away["score"].max()
    assert turned_away["reason"].str.contains("there is no more room").all()
    assert table(visits, Limit(10_000, ""))["decision"].equals(everybody["decision"])
    assert (table(visits, Limit(0, ""))["decision"] != CONTACT).all()


def upper_bound(policy: Any, context: Context) -> Any:
    mean, deviation = policy.models_.predict(context)
    return mean + deviation


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (LinUcb(), upper_bound),
        (ClassifierPolicy(LogisticRegression(max_iter=500), ["triggers_7d", "type"]), ClassifierPolicy.predict),
    ],
    ids=["lin_ucb", "classifier"],
)
def test_those_come_first_of_whom_a_greedy_policy_expects_most(visits: Recommender, policy: Any, wanted: Any) -> None:
    by = replace(visits, fitted=learn(prepare(visits.log, visits.settings), policy, visits.settings, visits.at))
    everybody = table(by).set_index("guid")["decision"] == CONTACT
    kept = table(by, Limit(4, "no")).set_index("guid")["decision"] == CONTACT
    expected = {}
    for block in range(len(by.log)):
        moment = Moment.of(by.log.load(block), by.settings, by.at)
        users = np.flatnonzero(moment.came & moment.free)
        expected |= dict(zip(moment.user_id[users], wanted(by.policy, moment.context(users))[:, 0], strict=True))
    of = pd.Series(expected).reindex(everybody.index)
    assert kept.sum() == 4
    assert (everybody & ~kept).any()
    assert of[kept].min() >= of[everybody & ~kept].max() - 1e-9


def test_who_goes_through_the_blocks_does_not_matter(visits: Recommender) -> None:
    limit = Limit(60, "no")
    with workers("threads", 2) as over:
        pd.testing.assert_frame_equal(table(visits, limit), table(visits, limit, over))


def test_probabilities_are_drawn_by_guid_seed_and_moment(visits: Recommender) -> None:
    by = replace(visits, fitted=Known(Chance()))
    first, again = table(by), table(by)
    assert first.equals(again)
    asked = first["score"].notna()
    share = (first.loc[asked, "decision"] == CONTACT).mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.21 / asked.sum())
    other = table(replace(by, settings=by.settings.model_copy(update={"seed": 1})))
    assert not other["decision"].equals(first["decision"])
    later = table(replace(by, at=by.at + 1))
    assert not later["decision"].equals(first["decision"])
    assert first.loc[asked, "reason"].str.contains("with probability 30 %").all()


def test_a_control_group_belongs_to_the_salt_and_the_guid_alone(visits: Recommender) -> None:
    by = replace(visits, control=0.2)
    first = table(by)
    share = (first["group"] == "control").mean()
    assert abs(share - 0.2) < 4 * np.sqrt(0.16 / len(first))
    later = table(replace(by, at=by.at + DAY, settings=by.settings.model_copy(update={"seed": 5})))
    assert later["group"].equals(first["group"])
    assert not table(replace(by, salt="autumn"))["group"].equals(first["group"])
    asked = first["score"].notna()
    treated = first["group"] == "treatment"
    assert (first.loc[asked & treated, "decision"] == CONTACT).all()
    assert 0 < (first.loc[asked & ~treated, "decision"] == CONTACT).mean() < 1  # the current strategy's chance is 0.3


def test_rules_under_trial_leave_the_controls_to_the_current_strategy(visits: Recommender) -> None:
    """As all of them are quiet hours and stops, nobody in treatment is contacted; controls are, as without rules."""
    hour = visits.at % DAY // 3600
    rules = {"quiet_hours": (hour, (hour + 1) % 24), "stop_after_interest": True}
    bound = replace(visits, control=0.3, settings=visits.settings.model_copy(update=rules))
    found, without = table(bound), table(replace(visits, control=0.3))
    control = found["group"] == "control"
    assert (found.loc[~control, "decision"] != CONTACT).all()
    assert found[control].to_csv() == without[control].to_csv()
    assert (found.loc[control, "decision"] == CONTACT).any()


def test_groups_share_a_capacity_as_they_share_the_users(visits: Recommender) -> None:
    found = table(replace(visits, fitted=Known(Eager(), Eager()), control=0.3), Limit(50, "no"))
    contacted = found[found["decision"] == CONTACT]
    assert contacted["group"].value_counts().to_dict() == {"treatment": 35, "control": 15}


def test_a_policy_is_told_when_what_it_earns_ceases_to_count(visits: Recommender) -> None:
    told = []

    class Asks(Eager):
        def fit(self, training: Any) -> Any:
            told.append(training.ends)
            return self

    own = visits.settings
    prepared = prepare(visits.log, own)
    learn(prepared, Asks(), own, visits.at)
    evaluated = visits.log.log_end - (visits.log.log_start + 14 * DAY)
    assert told == [visits.at + evaluated]


# --- the command


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small log in the directory where the command runs."""
    monkeypatch.chdir(tmp_path)
    triggers, actions = frames(WORLDS["visits"], 600, seed=2)
    triggers["guid"], actions["guid"] = "=" + triggers["guid"], "=" + actions["guid"]
    triggers.to_csv("triggers.csv", index=False)
    actions.to_csv("actions.csv", index=False)


RUN = ["recommend", "--triggers", "triggers.csv", "--actions", "actions.csv", "--grid", "light", "--threads", "1"]
QUICK = ["--folds", "2", "--n-boot", "50", "--quiet"]


@pytest.mark.usefixtures("files")
def test_later_rows_change_nothing() -> None:
    """Neither more visits and contacts nor new users, kinds of visits and faulty rows."""
    at = pd.Timestamp("2024-06-05 12:00:00")
    later = {}
    for name in ("triggers", "actions"):
        whole = pd.read_csv(f"{name}.csv")
        is_later = pd.to_datetime(whole["date"]) > at
        assert 0 < is_later.sum() < len(whole)
        later[name] = whole[is_later]
        whole[~is_later].to_csv(f"{name}.csv", index=False)
    command = [*RUN, *QUICK, "--at", str(at), "--capacity", "20", "--assign", "control=0.2"]
    assert main([*command, "--out", "before"]) == 0
    for name, rows in later.items():
        rows.to_csv(f"{name}.csv", mode="a", header=False, index=False)
    with Path("triggers.csv").open("a") as file:
        file.write("new,2024-06-05 12:00:01,text,another\n,2024-06-07 00:00:00,1,a\n")
    assert main([*command, "--out", "after"]) == 0
    names = sorted(path.name for path in Path("before").iterdir())
    assert names == sorted(path.name for path in Path("after").iterdir())
    for name in names:
        assert Path("before", name).read_text() == Path("after", name).read_text(), name


@pytest.mark.usefixtures("files")
def test_the_files_and_the_words_agree(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        [*RUN, *QUICK, "--policy", "first_chance", "--capacity", "20", "--budget", "30", "--cost", "2", "--out", "r"]
    )
    said = capsys.readouterr().out
    assert code == 0
    found = pd.read_csv("r/recommendations.csv")
    facts = json.loads(Path("r/recommendation.json").read_text())
    contact = found["decision"] == CONTACT
    assert contact.sum() == facts["contacts"] == facts["most_contacts"] == 15  # the budget is stricter
    assert "recommends 15 contacts among" in said
    assert len(found) == facts["users"] == 15 + sum(facts["waiting"].values())
    assert facts["expected_interests"] == pytest.approx(found["expected_interests"].sum())
    assert (found.loc[~contact, "expected_interests"] == 0).all()
    assert found["guid"].str.startswith("'=").all()  # no spreadsheet takes it for a formula
    assert found["guid"].is_unique
    assert "the budget of 30 at 2 per contact is used up" in " ".join(found["reason"])
    assert facts["evaluation"]["verdict"] in said
    assert facts["evaluation"]["contacts_a_day_at_most"] == 15
    assert "invented" not in said


def test_users_that_are_invented_are_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["--policy", "never", "--no-evaluation", "--grid", "light", "--threads", "1", "--small", "--quiet"]
    assert main(["recommend", *asked, "--out", "r"]) == 0
    assert "the users are invented: those of the synthetic world visits." in capsys.readouterr().out


@pytest.mark.usefixtures("files")
def test_a_list_that_the_log_does_not_support_says_so_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    """Half of 600 users is too little for any policy that contacts others than the current strategy does."""
    assert main([*RUN, *QUICK, "--at", "2024-05-20", "--out", "r"]) == 0
    assert "WARNING: THIS LIST IS NOT SUPPORTED BY THE LOG." in capsys.readouterr().out
    evaluation = json.loads(Path("r/recommendation.json").read_text())["evaluation"]
    assert evaluation["verdict"] == "cannot be answered from this log"
    assert evaluation["reason"]
    assert main([*RUN, *QUICK, "--at", "2024-05-20", "--no-evaluation", "--out", "unasked"]) == 0
    assert json.loads(Path("unasked/recommendation.json").read_text())["evaluation"] is None
    assert Path("unasked/recommendations.csv").read_bytes() == Path("r/recommendations.csv").read_bytes()


def test_contacts_with_kinds_name_the_kind_and_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the triggers are the contacts every user of users.csv is decided about."""
    monkeypatch.chdir(tmp_path)
    made = tables(WORLDS["sends"], 500, seed=1)
    for name in ("triggers", "actions", "users"):
        getattr(made, name).to_csv(f"{name}.csv", index=False)
    assert main([*RUN, *QUICK, "--users", "users.csv", "--no-evaluation", "--policy", "xgb_greedy", "--out", "r"]) == 0
    found = pd.read_csv("r/recommendations.csv", dtype={"kind": str}, keep_default_na=False)
    assert len(found) == len(made.users)
    kinds = {str(kind) for kind in made.triggers["type"]}
    contacted = found[found["decision"] == CONTACT]
    assert len(contacted) > 0
    assert set(contacted["kind"]) <= kinds
    for kind, others in zip(contacted["kind"], contacted["alternatives"], strict=True):
        assert {other.rpartition(" ")[0] for other in others.split("; ")} == kinds - {kind}
    last = made.actions.groupby("guid")["date"].max()
    at = pd.to_datetime(made.actions["date"]).max().normalize() + pd.Timedelta(days=1)
    gap = at - pd.to_datetime(last.reindex(contacted["guid"])).dropna().dt.normalize()
    assert (gap >= pd.Timedelta(days=14)).all()


@pytest.mark.usefixtures("files")
def test_the_command_that_the_docs_show_runs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "recommend.md").read_text(encoding="utf-8")
    shown = re.search(r"python -m experiments\.run (recommend .*)", text)
    assert shown is not None
    assert main([*shlex.split(shown[1]), *QUICK, "--grid", "light", "--threads", "1", "--out", "r"]) == 0
    columns = pd.read_csv("r/recommendations.csv", nrows=1).columns
    explained = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert explained == [*columns, "group"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--at", "soon"], "--at is a date as in 2024-05-31"),
        (["--at", "2024-05-31T10:00:00+02:00"], "without a time zone"),
        (["--at", "2023-05-31"], "triggers.csv has no row that can be used up to 2023-05-31 00:00:00."),
        (["--assign", "control=1.5"], "--assign is control= and a share between 0 and 1"),
        (["--assign", "treatment=0.5"], "--assign is control= and a share between 0 and 1"),
        (["--at", "2024-05-10"], "Up to --at 2024-05-10: The log spans 9 days, too few"),
        (["--policy", "nobody"], "There is no policy 'nobody'"),
        (["--policy", "current"], "--assign control=SHARE lists what a model of it expects"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*RUN, *QUICK, *arguments, "--out", "r"]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("r").exists()

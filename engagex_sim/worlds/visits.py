"""`visits`: the original task in small. `null`: the same where nothing a policy can use matters."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import ceil
from typing import ClassVar

import numpy as np
from scipy.special import expit, logit

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import Column, FloatArray, IntArray, TextArray
from engagex_sim.decisions import Decisions, starts
from engagex_sim.features import exogenous_features
from engagex_sim.policy import Context, Policy
from engagex_sim.worlds.world import LOG_START, guids

TYPES = np.array(["account", "cart", "help", "search", "view"], dtype=object)
TYPE_SHARES = (0.10, 0.12, 0.08, 0.25, 0.45)
CONTACT_BY_TYPE = np.array([-0.3, 0.6, -0.6, 0.2, 0.0])  # log odds that the logging policy adds
INTEREST_BY_TYPE = np.array([-0.3, 0.7, -0.7, 0.3, 0.0])  # log odds of interest
EVENING = (18, 19, 20, 21)
RESOURCES = 40
HOURS = np.array([1, 1, 1, 1, 1, 2, 3, 5, 7, 8, 8, 7, 7, 7, 6, 6, 7, 8, 10, 12, 12, 10, 6, 3], dtype=np.float64)
WEEKDAYS = np.array([1.0, 1.0, 1.0, 1.0, 1.1, 1.3, 1.2])
ACTIVE_DAYS = 14  # whose visits say how active a user is
EVALUATED = 38  # days after the burn-in, where nothing else is said
ODDS = "_interest_odds"  # hidden column: log odds of interest, but for what history adds


@dataclass(frozen=True)
class VisitsLogging:
    """The company's randomised strategy: more often after a cart, in the evening and for active users; never sure."""

    contact_odds: float = -2.3  # log odds of a contact at an ordinary visit
    by_activity: float = 0.25  # what the log of the visits in seven days adds

    name: ClassVar[str] = "logging"

    def log_odds(self, context: Context) -> FloatArray:
        """(n,) log odds of a contact when free."""
        by_type = CONTACT_BY_TYPE[context.column("type").codes_for(list(TYPES))]
        odds = self.contact_odds + by_type + 0.4 * np.isin(context["hour"], EVENING)
        if self.by_activity:
            odds += self.by_activity * np.log(context["triggers_7d"])
        return np.asarray(odds, dtype=np.float64)

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, 2): a contact with at least 0.5 % and at most 50 % where it is allowed."""
        contact = np.where(context.mask[:, 1], np.clip(expit(self.log_odds(context)), 0.005, 0.5), 0.0)
        return np.column_stack([1 - contact, contact])


@dataclass(frozen=True)
class Visits:
    """Visits of a site; one kind of contact; interest depends on type, hour, activity, resource and a hidden taste.

    Stresses: the coupling of decisions by the cap, a heavy tail of activity, 3 % positives, contacts made before the
    log began. The hidden taste moves interest only, so nothing is confounded. Under a cap of less than 14 days the
    log's first days under evaluation do not show all the activity that interest depends on. Other worlds change one
    thing in it.
    """

    cap_days: float = 14.0
    days: int = 0  # length of the log; 0 stands for the cap's length and 38 days more
    visit_rate: float = 0.36  # visits per user and day, nearly
    contact_odds: float = -2.3  # of the logging policy

    own_name: ClassVar[str] = "visits"
    summary: ClassVar[str] = "the original task in small: seven weeks, one contact in two weeks at most, 3 % interested"
    logging_is_visible: ClassVar[bool] = True
    reacts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.days == 0:
            object.__setattr__(self, "days", self._usual_days)

    @property
    def name(self) -> str:
        """The world's own name, and every field that is not at its default, as in `visits_cap7`."""
        usual = {field.name: field.default for field in fields(self)}
        usual["days"] = usual["days"] or self._usual_days
        changed = {name: value for name in usual if (value := getattr(self, name)) != usual[name]}
        return "_".join([self.own_name, *(f"{name.removesuffix('_days')}{value:g}" for name, value in changed.items())])

    @property
    def cap(self) -> Cap:
        return Cap(self.cap_days)

    @property
    def logging_cap(self) -> Cap:
        return self.cap

    @property
    def days_before(self) -> int:
        return max(14, ceil(self.cap_days))

    @cached_property
    def logging(self) -> Policy:
        return VisitsLogging(self.contact_odds)

    @property
    def _usual_days(self) -> int:
        return ceil(self.cap_days) + EVALUATED

    def lay_out(self, n_users: int, rng: np.random.Generator) -> Decisions:
        user_start, time = visits(self.visits_per_day(n_users, rng), self.days_before, self.days, rng)
        user = np.repeat(np.arange(n_users), np.diff(user_start))
        columns = {name: Column(values[user]) for name, values in self.hidden_causes(n_users, rng).items()}
        laid_out = self.at_visits(user_start, time, draw_resources(len(time), rng) | columns, guids(n_users, rng))
        if self.reacts:
            return laid_out
        odds = Column(self.interest_odds(exogenous_features(laid_out)))
        return replace(laid_out, columns={**laid_out.columns, ODDS: odds})

    def at_visits(
        self, user_start: IntArray, time: IntArray, columns: Mapping[str, Column], user_id: TextArray
    ) -> Decisions:
        """Every visit a decision point, nobody contacted."""
        n, n_users = len(time), len(user_id)
        return Decisions(
            user_start=user_start,
            user_key=np.arange(n_users, dtype=np.uint64),
            user_id=user_id,
            evaluation_start=np.full(n_users, LOG_START + self.cap.seconds),
            time=time,
            known_at=time,
            action=np.zeros(n, dtype=np.int64),
            reward=np.zeros(n),
            propensity=np.full(n, np.nan),
            columns=columns,
            trigger_start=user_start,
            trigger_time=time,
            trigger_code=columns["trigger"].values.astype(np.int32),
            other_start=np.zeros(n_users + 1, dtype=np.int64),
            other_time=np.zeros(0, dtype=np.int64),
            other_reward=np.zeros(0),
            kinds=("contact",),
            log_start=LOG_START - self.days_before * DAY,
            log_end=LOG_START + self.days * DAY,
            contact_is_a_choice=True,
            activity_known=True,
        )

    def reward_probabilities(self, context: Context) -> FloatArray:
        """(n, 1) the hidden probability of interest, fixed when the timeline was laid out."""
        return np.asarray(expit(context[ODDS]), dtype=np.float64)[:, None]

    def visits_per_day(self, n_users: int, rng: np.random.Generator) -> FloatArray:
        """(n_users,) each user's mean number of visits: gamma, with a heavy tail."""
        return rng.gamma(0.9, self.visit_rate, n_users) + 0.03

    def hidden_causes(self, n_users: int, rng: np.random.Generator) -> dict[str, FloatArray]:
        """Traits (n_users,) that the log does not show, by name."""
        return {"_taste": rng.normal(0.0, 0.4, n_users)}

    def interest_odds(self, features: Mapping[str, Column]) -> FloatArray:
        """(n,) log odds of interest in a contact, from exogenous features and hidden causes."""
        by_type = INTEREST_BY_TYPE[features["type"].values]
        evening = np.cos((features["hour"].values - 20) / 24 * 2 * np.pi)
        active = np.log(features[f"triggers_{ACTIVE_DAYS}d"].values)
        liked = np.isin(features["trigger"].values, (1, 4, 9))
        odds = -4.61 + by_type + 0.25 * evening + 0.35 * active + 0.3 * liked
        return np.asarray(odds + features["_taste"].values, dtype=np.float64)


@dataclass(frozen=True)
class Null(Visits):
    """`visits`, but interest is the same 3 % whatever is known: no choice of moment or user can help."""

    own_name: ClassVar[str] = "null"
    summary: ClassVar[str] = "like visits, but interest depends on nothing a policy can use: no lift at equal volume"

    def interest_odds(self, features: Mapping[str, Column]) -> FloatArray:
        return np.full(len(features["type"]), logit(0.03))


def visits(per_day: FloatArray, days_before: int, days: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """When users come: starts (n_users + 1,) and times (n,), seconds, sorted.

    Poisson with each user's own rate `per_day` (n_users,), more on weekends and in the evening; never two visits of a
    user at once.
    """
    span = days_before + days
    user = np.repeat(np.arange(len(per_day)), rng.poisson(per_day * span))
    first_day = LOG_START // DAY - days_before
    by_day = WEEKDAYS[(first_day + np.arange(span) + 3) % 7]
    day = rng.choice(span, size=len(user), p=by_day / by_day.sum())
    hour = rng.choice(24, size=len(user), p=HOURS / HOURS.sum())
    second = (user * span + day) * DAY + hour * 3600 + rng.integers(0, 3600, len(user))
    second.sort()  # one number for (user, time) sorts many times faster than two
    second = second[np.diff(second, prepend=-1) > 0]
    user, since_first = np.divmod(second, span * DAY)
    return starts(np.bincount(user, minlength=len(per_day))), first_day * DAY + since_first


def draw_resources(n: int, rng: np.random.Generator) -> dict[str, Column]:
    """What each of `n` visits looks at, and how: the columns `trigger` and `type`."""
    by_rank = 1 / np.arange(1, RESOURCES + 1)  # Zipf
    resource = rng.choice(RESOURCES, size=n, p=by_rank / by_rank.sum()) + 1
    kind = rng.choice(len(TYPES), size=n, p=TYPE_SHARES).astype(np.int32)
    return {"trigger": Column(resource), "type": Column(kind, TYPES)}

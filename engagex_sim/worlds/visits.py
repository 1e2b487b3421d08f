"""`visits`: the original task in small. `null`: the same where nothing a policy can use matters."""

import numpy as np
from scipy.special import expit

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import AnyArray, Column, FloatArray, IntArray
from engagex_sim.decisions import Decisions, starts
from engagex_sim.features import exogenous_features
from engagex_sim.policy import Context, Policy
from engagex_sim.worlds.world import LOG_START

TYPES = np.array(["account", "cart", "help", "search", "view"], dtype=object)
TYPE_SHARES = (0.10, 0.12, 0.08, 0.25, 0.45)
CONTACT_BY_TYPE = np.array([-0.3, 0.6, -0.6, 0.2, 0.0])  # log odds that the logging policy adds
INTEREST_BY_TYPE = np.array([-0.3, 0.7, -0.7, 0.3, 0.0])  # log odds of interest
RESOURCES = 40
HOURS = np.array([1, 1, 1, 1, 1, 2, 3, 5, 7, 8, 8, 7, 7, 7, 6, 6, 7, 8, 10, 12, 12, 10, 6, 3], dtype=np.float64)
WEEKDAYS = np.array([1.0, 1.0, 1.0, 1.0, 1.1, 1.3, 1.2])


class VisitsLogging:
    """The company's randomised strategy: more often after a cart, in the evening and for active users; never sure."""

    name = "logging"

    def action_probabilities(self, context: Context) -> FloatArray:
        by_type = CONTACT_BY_TYPE[context.column("type").codes_for(list(TYPES))]
        evening = np.isin(context["hour"], (18, 19, 20, 21))
        odds = -2.3 + by_type + 0.4 * evening + 0.25 * np.log(context["triggers_7d"])
        contact = np.where(context.mask[:, 1], np.clip(expit(odds), 0.01, 0.5), 0.0)
        return np.column_stack([1 - contact, contact])


class Visits:
    """Visits of a site; one kind of contact; interest depends on type, hour, activity, resource and a hidden taste.

    Stresses: the coupling of decisions by the cap, a heavy tail of activity, 3 % positives, contacts made before the
    log began. The hidden taste moves interest only, so nothing is confounded.
    """

    name = "visits"
    summary = "the original task in small: one month of visits, one contact in two weeks, 3 % interested"
    cap = Cap(14)
    days = 31
    days_before = 14
    logging: Policy = VisitsLogging()

    def lay_out(self, n_users: int, rng: np.random.Generator) -> Decisions:
        user_start, time = visits(n_users, self.days_before, self.days, rng)
        n = len(time)
        resource = rng.choice(RESOURCES, size=n, p=zipf(RESOURCES)) + 1
        kind = rng.choice(len(TYPES), size=n, p=TYPE_SHARES).astype(np.int32)
        user_of_row = np.repeat(np.arange(n_users), np.diff(user_start))
        taste = rng.normal(0.0, 0.4, n_users)
        laid_out = Decisions(
            user_start=user_start,
            user_key=np.arange(n_users, dtype=np.uint64),
            user_id=guids(n_users, rng),
            evaluation_start=np.full(n_users, LOG_START + self.cap.seconds),
            time=time,
            known_at=time,
            action=np.zeros(n, dtype=np.int64),
            reward=np.zeros(n),
            propensity=np.full(n, np.nan),
            columns={"trigger": Column(resource), "type": Column(kind, TYPES)},
            trigger_start=user_start,
            trigger_time=time,
            trigger_code=resource.astype(np.int32),
            other_start=np.zeros(n_users + 1, dtype=np.int64),
            other_time=np.zeros(0, dtype=np.int64),
            other_reward=np.zeros(0),
            kinds=("contact",),
            log_start=LOG_START - self.days_before * DAY,
            log_end=LOG_START + self.days * DAY,
            contact_is_a_choice=True,
            activity_known=True,
        )
        chance = Column(self._interest(laid_out, taste[user_of_row]))
        return Decisions(**{**vars(laid_out), "columns": {**laid_out.columns, "_interest": chance}})

    def reward_probabilities(self, context: Context) -> FloatArray:
        """(n, 1) the hidden probability of interest, fixed when the timeline was laid out."""
        return np.asarray(context["_interest"], dtype=np.float64)[:, None]

    def _interest(self, laid_out: Decisions, taste: FloatArray) -> FloatArray:
        features = exogenous_features(laid_out)
        by_type = INTEREST_BY_TYPE[features["type"].values]
        evening = np.cos((features["hour"].values - 20) / 24 * 2 * np.pi)
        active = np.log(features["triggers_7d"].values)
        fresh = np.minimum(features["days_since_trigger"].values, 7.0)
        liked = np.isin(features["trigger"].values, (1, 4, 9))
        odds = -4.09 + by_type + 0.25 * evening + 0.1 * active - 0.05 * fresh + 0.3 * liked + taste
        return np.asarray(expit(odds), dtype=np.float64)


class Null(Visits):
    """`visits`, but interest is the same 3 % whatever is known: no choice of moment or user can help."""

    name = "null"
    summary = "like visits, but interest depends on nothing that a policy can use: no lift at equal volume"

    def _interest(self, laid_out: Decisions, taste: FloatArray) -> FloatArray:
        del taste
        return np.full(len(laid_out), 0.03)


def visits(n_users: int, days_before: int, days: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """When users come: starts (n_users + 1,) and times (n,), seconds, sorted.

    Gamma-Poisson activity with a heavy tail, more on weekends and in the evening; never two visits of a user at once.
    """
    rate = rng.gamma(0.9, 1.0, n_users) + 0.03
    span = days_before + days
    user = np.repeat(np.arange(n_users), rng.poisson(rate * span))
    first_day = LOG_START // DAY - days_before
    by_day = WEEKDAYS[(first_day + np.arange(span) + 3) % 7]
    day = rng.choice(span, size=len(user), p=by_day / by_day.sum())
    hour = rng.choice(24, size=len(user), p=HOURS / HOURS.sum())
    time = (first_day + day) * DAY + hour * 3600 + rng.integers(0, 3600, len(user))
    visits = np.unique(np.column_stack([user, time]), axis=0)
    return starts(np.bincount(visits[:, 0], minlength=n_users)), np.ascontiguousarray(visits[:, 1])


def zipf(n: int) -> FloatArray:
    """(n,) probabilities proportional to 1 / rank."""
    weights = 1 / np.arange(1, n + 1)
    return np.asarray(weights / weights.sum())


def guids(n: int, rng: np.random.Generator) -> AnyArray:
    """(n,) random UUIDs as text, sorted, so that they stand as a reader sorts them."""
    digits = rng.bytes(16 * n).hex()
    texts = (digits[32 * i : 32 * i + 32] for i in range(n))
    return np.array(sorted(f"{t[:8]}-{t[8:12]}-4{t[13:16]}-a{t[17:20]}-{t[20:]}" for t in texts), dtype=object)

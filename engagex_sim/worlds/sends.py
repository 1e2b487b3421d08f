"""`sends`: a company that writes to its customers; each trigger is a contact of one of three kinds."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.special import expit

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import Column, FloatArray
from engagex_sim.decisions import Decisions
from engagex_sim.policy import Context, Policy
from engagex_sim.worlds.world import LOG_START, guids, true_history

KINDS = ("discount", "news", "reminder")
SEND_DAYS = (2, 5)  # weekdays, 0 = Monday; the log begins and ends on one
SEGMENTS = np.array(["family", "single", "student"], dtype=object)
SEGMENT_SHARES = (0.35, 0.4, 0.25)
CONTACT_BY_SEGMENT = np.array([0.3, 0.0, -0.4])  # log odds that the logging policy adds
KIND_BY_SEGMENT = np.array([[0.45, 0.35, 0.20], [0.30, 0.40, 0.30], [0.40, 0.20, 0.40]])  # its choice of kind
INTEREST = np.array([[0.5, 0.0, -0.3], [0.1, 0.3, -0.2], [0.7, -0.4, 0.0]])  # log odds by segment and kind


@dataclass(frozen=True)
class SendsLogging:
    """The company's randomised strategy: more to families, to newer customers and on Wednesdays; never sure."""

    contact_odds: float = -1.4  # log odds of a contact on a Saturday

    name: ClassVar[str] = "logging"

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, 4) from segment, tenure and weekday."""
        segment = context.column("segment").codes_for(list(SEGMENTS))
        odds = self.contact_odds + CONTACT_BY_SEGMENT[segment] - 0.01 * context["tenure"]
        contact = np.where(context.mask[:, 1], expit(odds + 0.5 * (context["weekday"] == SEND_DAYS[0])), 0.0)
        return np.column_stack([1 - contact, contact[:, None] * KIND_BY_SEGMENT[segment]])


@dataclass(frozen=True)
class Sends:
    """A company writes to listed customers, on Wednesdays and Saturdays; the log holds its sends, users.csv all users.

    Stresses: the `contacts` reading, kinds that suit some segments better, and interest that recovers: right after the
    cap's end the log odds are `depth` lower, which fades within `fading` days. The log shows no contact made before
    it began, so a user who seems never contacted may well have been. The true recency counts all.
    """

    cap_days: float = 14.0
    days: int = 46
    contact_odds: float = -1.4
    depth: float = 1.2
    fading: float = 10.0  # days in which the effect of a contact falls to 1 / e

    own_name: ClassVar[str] = "sends"
    summary: ClassVar[str] = "three kinds of sends, listed customers, interest that recovers after a contact"
    logging_is_visible: ClassVar[bool] = True
    reacts: ClassVar[bool] = False
    days_before: ClassVar[int] = 42

    @property
    def name(self) -> str:
        """The world's own name, and every field that is not at its default."""
        changed = [f for f in fields(self) if getattr(self, f.name) != f.default]
        return "_".join([self.own_name, *(f"{f.name.removesuffix('_days')}{getattr(self, f.name):g}" for f in changed)])

    @property
    def cap(self) -> Cap:
        return Cap(self.cap_days)

    @property
    def logging_cap(self) -> Cap:
        return self.cap

    @cached_property
    def logging(self) -> Policy:
        return SendsLogging(self.contact_odds)

    def lay_out(self, n_users: int, rng: np.random.Generator) -> Decisions:
        start = LOG_START - self.days_before * DAY
        days = start + np.arange(self.days_before + self.days) * DAY
        days = days[np.isin((days // DAY + 3) % 7, SEND_DAYS)]  # 1970-01-01 was a Thursday
        span = len(days)
        n = n_users * span
        time = np.tile(days, n_users)
        segment = rng.choice(len(SEGMENTS), size=n_users, p=SEGMENT_SHARES).astype(np.int32)
        tenure = rng.integers(1, 61, n_users)  # months
        taste = rng.normal(0.0, 0.4, n_users)
        return Decisions(
            user_start=np.arange(n_users + 1) * span,
            user_key=np.arange(n_users, dtype=np.uint64),
            user_id=guids(n_users, rng),
            evaluation_start=np.full(n_users, LOG_START + self.cap.seconds),
            time=time,
            known_at=time,
            action=np.zeros(n, dtype=np.int64),
            reward=np.zeros(n),
            propensity=np.full(n, np.nan),
            columns={
                "segment": Column(np.repeat(segment, span), SEGMENTS),
                "tenure": Column(np.repeat(tenure, span)),
                "_taste": Column(np.repeat(taste, span)),
            },
            trigger_start=np.zeros(n_users + 1, dtype=np.int64),
            trigger_time=np.zeros(0, dtype=np.int64),
            trigger_code=np.zeros(0, dtype=np.int32),
            other_start=np.zeros(n_users + 1, dtype=np.int64),
            other_time=np.zeros(0, dtype=np.int64),
            other_reward=np.zeros(0),
            kinds=KINDS,
            log_start=start,
            log_end=LOG_START + self.days * DAY,
            contact_is_a_choice=True,
            activity_known=False,
        )

    def reward_probabilities(self, context: Context) -> FloatArray:
        """(n, 3) by kind, lower the more recent the user's true last contact is."""
        days, _ = true_history(context)
        tired = self.depth * np.exp(-np.maximum(days - self.cap.days, 0.0) / self.fading)
        weekend = context["weekday"] >= 5
        odds = -3.3 + 0.2 * weekend - 0.008 * (context["tenure"] - 30) + context["_taste"] - tired
        segment = context.column("segment").codes_for(list(SEGMENTS))
        return np.asarray(expit(odds[:, None] + INTEREST[segment]), dtype=np.float64)

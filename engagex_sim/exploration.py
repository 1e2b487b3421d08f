"""When the log cannot answer for a policy: which decisions lack support, and how much random exploration would help.

The plan: for one more period like this log's, with as many users, do with probability ε what the target π would do
wherever the current strategy b hardly ever does it: contact a free user whom b would not contact, or leave out a
contact that b always makes (after it nobody would be free for π's). The probability of what was done is logged. The
contact probabilities q' of that strategy follow from the recursion, and with them what the doubly robust estimate of π
would be worth: given the timeline, weighted errors of the reward model have mean 0 and are uncorrelated, so per user

    variance = Var(Σ_t Σ_k q^π q̂) + mean of Σ_t Σ_k (q^π)² / q' · q̂ (1 − q̂)

Everything is a sum over users, so blocks are added up. Arrays (n, S, K) have a row per decision point, a column per
state that the recursion carries (one where none is) and a cell per kind; what does not depend on the state may be
(n, 1, K).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pandas as pd

from engagex_sim.columns import BoolArray, FloatArray, IntArray, sums_by
from engagex_sim.ope.verdict import refusal
from engagex_sim.ope.weights import Overlap

RARELY = 20.0  # how many times likelier π must contact than b for b to "hardly ever" do so
RATES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.10, 0.20, 0.30, 0.50)  # ε; 0 is the log as it is
STEADY = 50.0  # interests, in effect, behind the width of an interval: then its own standard error is at most 7 %
HARDLY_ANY = 0.02  # share of π's contacts that lack support, below which exploration is not what is missing
UNREACHED = 0.01  # share of π's contacts that may stay impossible
NORMAL = 1.96
PLAN_COLUMNS = (
    "rate",
    "extra_contacts_per_1000",
    "random_contacts_per_1000",
    "value_width",
    "lift_width",
    "ess",
    "max_weight_share",
    "effective_positives",
    "answerable",
    "foretold",
    "reason",
)
_BINS = np.logspace(-4, 8, 241)  # of weights

# Hazards when free (n, ·, 2K), b's own and those by chance side by side → contact probabilities (n, S, 2K).
Occupancy = Callable[[FloatArray], FloatArray]


def lacks_support(logging: FloatArray, target: FloatArray) -> BoolArray:
    """Where π does with a free user what b hardly ever does; any shape, probabilities per action."""
    return np.asarray(target > RARELY * logging, dtype=np.bool_)


def explored_hazards(logging: FloatArray, target: FloatArray, rate: float) -> tuple[FloatArray, FloatArray]:
    """Hazards (…, K) of b with exploration, those of b itself and those by chance; their sum is

    (1 − ε) b + ε π at decisions where some action of π lacks support, and b elsewhere. "No contact" is an action like
    any other here, with the probability 1 − Σ_k h(k).
    """
    none = lacks_support(1.0 - logging.sum(axis=-1, keepdims=True), 1.0 - target.sum(axis=-1, keepdims=True))
    share = rate * (none | lacks_support(logging, target).any(axis=-1, keepdims=True))
    return (1.0 - share) * logging, share * target


@dataclass(frozen=True)
class Sums:
    """What a block of users adds to the plan; r rates."""

    users: FloatArray  # ()
    model: FloatArray  # () Σ M over users, M = Σ q^π q̂
    model_squared: FloatArray  # () Σ M²
    target: FloatArray  # () Σ q^π
    lacking: FloatArray  # () Σ q^π at decisions without support
    unreached: FloatArray  # (r,) Σ q^π where q' = 0
    current: FloatArray  # (r,) Σ E over users, E = Σ q' q̂
    difference_squared: FloatArray  # (r,) Σ (M − E)²
    noise: FloatArray  # (r,) Σ (q^π)² / q' · q̂ (1 − q̂)
    noise_of_difference: FloatArray  # (r,) Σ (q^π − q')² / q' · q̂ (1 − q̂)
    weight_squared: FloatArray  # (r,) Σ (q^π)² / q'
    gain_squared: FloatArray  # (r,) Σ (q^π)² / q' · q̂
    gain_fourth: FloatArray  # (r,) Σ (q^π)⁴ / q'³ · q̂
    contacts: FloatArray  # (r,) Σ q'
    random: FloatArray  # (r,) of which by exploration
    by_weight: FloatArray  # (r, bins) Σ q' by weight

    @classmethod
    def join(cls, blocks: Iterable[Self]) -> Self:
        columns = [[getattr(block, field.name) for field in fields(cls)] for block in blocks]
        return cls(*(np.sum(parts, axis=0) for parts in zip(*columns, strict=True)))

    def scaled(self, factor: float) -> Self:
        """The sums over `factor` times as many users of the same sort."""
        return type(self)(*(getattr(self, field.name) * factor for field in fields(self)))


def block_sums(
    user: IntArray,
    n_users: int,
    logging: FloatArray,
    target: FloatArray,
    probability: FloatArray,
    predicted: FloatArray,
    occupied: Occupancy,
) -> Sums:
    """A block's part of the plan.

    Hazards when free of b, `logging`, and of π, `target`, (n, ·, K) with one common set of states or none; π's contact
    `probability` q^π and `predicted` q̂, (n, S, K); `occupied` runs the recursion of b; `user` (n,) in 0..n_users − 1.
    """
    lacking = lacks_support(logging, target).any(axis=(1, 2))

    def per_user(amount: FloatArray) -> FloatArray:
        return sums_by(user, amount.sum(axis=(1, 2)), n_users)

    model = per_user(probability * predicted)
    rows = []
    for rate in RATES:
        both = occupied(np.concatenate(explored_hazards(logging, target, rate), axis=-1))
        kinds = both.shape[-1] // 2
        q = both[..., :kinds] + both[..., kinds:]
        weight = np.divide(probability, q, out=np.zeros_like(q), where=q > 0)
        current = per_user(q * predicted)
        spread = predicted * (1.0 - predicted)
        position = np.searchsorted(_BINS, weight.ravel())
        rows.append(
            (
                np.where(q > 0, 0.0, probability).sum(),
                current.sum(),
                ((model - current) ** 2).sum(),
                (weight * probability * spread).sum(),
                ((weight - 1.0) ** 2 * q * spread).sum(),
                (weight * probability).sum(),
                (weight * probability * predicted).sum(),
                (weight**3 * probability * predicted).sum(),
                q.sum(),
                both[..., kinds:].sum(),
                sums_by(position, q.ravel(), len(_BINS) + 1),
            )
        )
    once = (float(n_users), model.sum(), (model**2).sum(), probability.sum(), probability[lacking].sum())
    return Sums(*(np.asarray(x) for x in once), *(np.array(column) for column in zip(*rows, strict=True)))


def plan(sums: Sums) -> pd.DataFrame:
    """One row per rate ε, the log as it is first.

    Columns `PLAN_COLUMNS`: contacts per 1,000 users over the period, where `extra` is `random` less the contacts left
    out or, through the cap, made impossible; the widths of the 95 % intervals of interests per user and of their lift;
    overlap; whether the policy would be answered, and whether enough interests stand behind the width to foretell it.
    """
    s, n = sums, float(sums.users)
    of_value = s.model_squared / n - (s.model / n) ** 2 + s.noise / n
    of_lift = s.difference_squared / n - ((s.model - s.current) / n) ** 2 + s.noise_of_difference / n
    gain = np.full(len(RATES), float(s.model))
    rows = []
    for r, rate in enumerate(RATES):
        largest = _largest_weight(s.by_weight[r])
        ess = float(s.target**2 / s.weight_squared[r]) if s.weight_squared[r] > 0 else float("nan")
        overlap = Overlap(
            ess=ess,
            max_weight_share=min(1.0, largest / float(s.target)) if s.target > 0 else float("nan"),
            expected_positives=ess * float(s.current[r] / s.contacts[r]) if s.contacts[r] > 0 else float("nan"),
            effective_positives=float(gain[r] ** 2 / s.gain_squared[r]) if s.gain_squared[r] > 0 else 0.0,
            expected_contacts=float(s.target),
            imbalance=-float(s.unreached[r] / s.target) if s.target > 0 else float("nan"),
            balance_z=-float("inf") if s.unreached[r] > 0 else 0.0,
        )
        seen = s.unreached[r] <= UNREACHED * s.target  # else nothing is known about the rest
        reason = refusal(overlap)
        behind_width = s.gain_squared[r] ** 2 / s.gain_fourth[r] if s.gain_fourth[r] > 0 else 0.0
        rows.append(
            {
                "rate": rate,
                "extra_contacts_per_1000": 1000 * (s.contacts[r] - s.contacts[0]) / n,
                "random_contacts_per_1000": 1000 * s.random[r] / n,
                "value_width": 2 * NORMAL * np.sqrt(max(of_value[r], 0.0) / n) if seen else float("nan"),
                "lift_width": 2 * NORMAL * np.sqrt(max(of_lift[r], 0.0) / n) if seen else float("nan"),
                "ess": overlap.ess,
                "max_weight_share": overlap.max_weight_share,
                "effective_positives": overlap.effective_positives,
                "answerable": reason is None,
                "foretold": reason is None and behind_width >= STEADY,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows, columns=list(PLAN_COLUMNS))


def plan_of_nothing() -> pd.DataFrame:
    """The columns of `plan` and of what is said beside it, without a row."""
    return pd.DataFrame(columns=["policy", *PLAN_COLUMNS, "lacking_share", "where", "sentence"])


def chosen(table: pd.DataFrame) -> "pd.Series[float] | None":
    """The row of `plan` with the least exploration that makes the policy answerable; None where no rate does.

    One whose width can be foretold is preferred.
    """
    possible = table[table["answerable"] & (table["rate"] > 0)]
    possible = possible[possible["foretold"]] if possible["foretold"].any() else possible
    return None if possible.empty else possible.iloc[0]


def sentence(policy: str, table: pd.DataFrame, where: str, current: float, lacking_share: float) -> str:
    """The plan in plain words.

    `where` says which decisions lack support and `lacking_share` what share of the policy's contacts; `current` is
    interests per user now.
    """
    best = chosen(table)
    if lacking_share < HARDLY_ANY:
        return (
            f"The current strategy makes the decisions of {policy} as well, but in too few cases or with too few"
            " interests to judge it: it takes a longer log or more users, not exploration."
        )
    if best is None:
        return (
            f"Decisions of {policy} that the current strategy hardly ever makes lie {where}. Not even making"
            f" {100 * RATES[-1]:g} % of them at random would be enough in a log of this size: take a longer log, or try"
            f" {policy} on some users in an A/B test."
        )
    plan_words = (
        f"To answer for {policy}: in one more period like this one, with as many users, do as it would with"
        f" probability {100 * best['rate']:g} % wherever the current strategy hardly ever does so, and log that"
        f" probability. It means {best['random_contacts_per_1000']:,.0f} random contacts per 1,000 users, {where}"
        f" ({best['extra_contacts_per_1000']:+,.0f} contacts in all)."
    )
    if not best["foretold"]:
        return (
            f"{plan_words} Too few interests would stand behind the interval's width to foretell it: it would be wide."
        )
    return (
        f"{plan_words} The 95 % interval of the lift would then be about {100 * best['lift_width'] / current:,.0f}"
        " percentage points wide, if interest there is as the reward model expects."
    )


def _largest_weight(by_weight: FloatArray) -> float:
    """The weight that the largest of the drawn contacts exceeds as often as not (a Poisson number lies above it)."""
    above = by_weight[::-1].cumsum()[::-1]
    found = np.flatnonzero(above >= np.log(2.0))
    return float(_BINS[min(found[-1], len(_BINS) - 1)]) if len(found) else 0.0

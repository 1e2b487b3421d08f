"""Whether interest, and the logging policy, depend on a user's contact history: what the recursion must carry."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engagex_sim.cap import NEVER
from engagex_sim.columns import FloatArray
from engagex_sim.hashing import fold_of
from engagex_sim.models.calibrate import log_odds
from engagex_sim.models.propensity import PropensityModel
from engagex_sim.models.search import held_out_log_odds
from engagex_sim.models.state_effects import StateEffects, log_loss
from engagex_sim.settings import Settings
from engagex_sim.states import NO_STATE, States, recency_edges
from engagex_sim.timeline import Timeline

# What a class of the history holds at least, about. An answer may come to rest on the interests in a class of the
# weights; the logging policy is learned from contacts alone.
INTERESTS_PER_CLASS, CONTACTS_PER_CLASS = 20, 150
MAX_RECENCIES, MAX_COUNTS = 8, 4
# Held-out log likelihood, in all, that a dependence must gain to be carried. Interests are few, and what they depend on
# decides whether an answer is right; contacts are many, and the recursion bears a missing dependence of theirs well.
MIN_GAIN, MIN_LOGGING_GAIN = 0.0, 5.0
TIE = 1.0  # gains that differ by no more are alike, and the history with fewer states is taken
ROWS_WITHOUT_CONTACT = 20_000  # that the test of the logging policy looks at


@dataclass(frozen=True)
class Carried:
    """What of the contact history the estimators carry, and why."""

    weights: States  # contacts are weighed within these: interest depends on them, or the logging policy on results
    logging: States  # what the hazard of the logging policy may depend on; tells apart all that `weights` does
    notes: tuple[str, ...] = ()


def carried(timeline: Timeline, whole: Timeline, cap_modelled: bool, settings: Settings) -> Carried:
    """Test both dependences by held-out log likelihood, over the evaluation period.

    `timeline` holds every contact, `whole` every decision point of some users, or of all. Where contacting is not a
    choice the history is the same whatever a policy does, and nothing is carried.
    """
    if not timeline.contact_is_a_choice:
        return Carried(NO_STATE, NO_STATE)
    contacts = timeline.rows((timeline.action > 0) & (timeline.free | (not cap_modelled)))
    candidates = _candidates(contacts, timeline.cap.seconds, contacts.reward, INTERESTS_PER_CLASS)
    reward, gain = _best(_reward_gains(contacts, candidates, settings), candidates, MIN_GAIN)
    notes = []
    if reward != "nothing":
        notes.append(
            f"Interest depends on {_WORDS[reward]} (held-out log likelihood +{gain:.1f}): the estimates carry it."
        )
    hazard = NO_STATE
    if not cap_modelled:  # what a strategy does that keeps no cap depends on its last contact all the more
        hazard = States(recency_edges(_gaps(contacts), 0, MAX_RECENCIES))
    weights = candidates.get(reward, NO_STATE)
    of_logging = _candidates(contacts, timeline.cap.seconds, np.ones(len(contacts)), CONTACTS_PER_CLASS)
    results = States(interests=True)
    gains = _logging_gains(whole, cap_modelled, of_logging | {"past results": results}, settings)
    if gains.get("past results", 0.0) > MIN_LOGGING_GAIN and gains["past results"] > 0.5 * max(gains.values()):
        weights = weights.joined(results)
        notes.append(
            "The current strategy reacts to the results of its own contacts (held-out log likelihood"
            f" +{gains['past results']:.1f}): past results are carried."
        )
    history = {name: gain for name, gain in gains.items() if name != "past results"}
    logging, gain = _best(history, of_logging, MIN_LOGGING_GAIN)
    if logging != "nothing":
        hazard = hazard.joined(of_logging[logging] if cap_modelled else States(counts=of_logging[logging].counts))
        notes.append(
            f"The current strategy depends on {_WORDS[logging]} (held-out log likelihood +{gain:.1f}): its model reads"
            " it."
        )
    return Carried(weights, weights.joined(hazard), tuple(notes))


_WORDS: Mapping[str, str] = {
    "recency": "the time since the last contact",
    "count": "the number of past contacts",
    "both": "the time since the last contact and the number of past contacts",
}


def _candidates(contacts: Timeline, window: int, worth: FloatArray, enough: int) -> dict[str, States]:
    """States with contacts worth `enough` in each class, where `worth` is (c,); none where too few came again."""
    gaps, count = _gaps(contacts), contacts.logged.contacts
    recencies = min(MAX_RECENCIES, int(worth[count > 0].sum()) // enough)
    counts = [c for c in range(1, MAX_COUNTS) if worth[count >= c].sum() >= enough]
    found = {}
    if recencies >= 1:
        edges = recency_edges(gaps, window, recencies)
        found["recency"] = States(tuple(sorted({*edges, *([window] if gaps.min() < window else [])})))
    if counts:
        found["count"] = States(counts=counts[-1] + 1)
    if len(found) == 2:
        found["both"] = found["recency"].joined(found["count"])
    return found


def _gaps(contacts: Timeline) -> FloatArray:
    """Seconds since the last contact, where one was seen."""
    seen = contacts.logged.last_contact != NEVER
    return np.asarray((contacts.time - contacts.logged.last_contact)[seen], dtype=np.float64)


def _reward_gains(contacts: Timeline, candidates: Mapping[str, States], settings: Settings) -> dict[str, float]:
    key = contacts.user_key[contacts.user_of_row]
    margin = held_out_log_odds(contacts.free_context(), contacts.action, contacts.reward, key, seed=settings.seed)
    if margin is None:
        return {}
    return _gains(contacts, candidates, margin, contacts.reward)


def _logging_gains(
    timeline: Timeline, cap_modelled: bool, candidates: Mapping[str, States], settings: Settings
) -> dict[str, float]:
    """The hazard is fitted on one half of the users; what history adds to it is learned and judged on the other."""
    rng = np.random.default_rng(settings.seed)
    possible = timeline.free if cap_modelled else np.ones(len(timeline), dtype=np.bool_)
    others = np.flatnonzero((timeline.action == 0) & possible)
    sample = rng.choice(others, min(len(others), ROWS_WITHOUT_CONTACT), replace=False)
    keep = (timeline.action > 0) & possible
    keep[sample] = True
    rows = timeline.rows(keep)
    key = rows.user_key[rows.user_of_row]
    half = fold_of(key, settings.seed + 1, 2)
    train, rest = rows.rows(half == 0), rows.rows(half == 1)
    if not (train.action > 0).any() or not (rest.action > 0).any():
        return {}
    model = PropensityModel.fit(train.free_context(), train.action, seed=settings.seed, light=True)
    contact = model.when_free(rest.free_context())[:, 0].sum(axis=1)
    made = (rest.action > 0).astype(np.float64)
    return _gains(rest, candidates, log_odds(contact), made)


def _gains(
    rows: Timeline, candidates: Mapping[str, States], offset: FloatArray, outcome: FloatArray
) -> dict[str, float]:
    """Held-out log likelihood that each candidate adds to what the exogenous features say; every row is left out once.

    To learn from all rows but one finds a dependence that halves of a log of some hundred interests do not.
    """

    def loss(states: States) -> float:
        state = states.of(rows.time, rows.logged)
        effects = StateEffects.fit(states, state, offset, outcome)
        return float(log_loss(effects.held_out(state, offset, outcome), outcome).sum())

    before = loss(NO_STATE)
    return {name: before - loss(states) for name, states in candidates.items()}


def _best(gains: Mapping[str, float], candidates: Mapping[str, States], enough: float) -> tuple[str, float]:
    """The candidate with the fewest states of those that gain more than `enough`, and nearly as much as any."""
    most = max(gains.values(), default=0.0)
    good = [name for name, gain in gains.items() if gain > max(enough, most - max(enough, TIE))]
    name = min(good, key=lambda n: candidates[n].size, default="nothing")
    return name, gains.get(name, 0.0)

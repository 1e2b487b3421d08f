"""The answer in plain sentences, for the terminal and the report."""

import math
from collections.abc import Sequence

from engagex_sim.ope.verdict import BETTER, NO_DIFFERENCE, UNANSWERABLE, WORSE
from engagex_sim.report.answers import CONTACTS, INTERESTED, PER_CONTACT, PROFIT, Answer, Estimate, answers
from engagex_sim.report.formats import listing, number, number_range, percent, percent_range, sentence
from engagex_sim.report.results_readers import what_other_estimators_say
from engagex_sim.result import Facts, Result
from engagex_sim.settings import Settings

SAME_CONTACTS = 0.005  # relative change of contacts below which their number is "the same" …
ABOUT_SAME_CONTACTS = 0.03  # … and "about the same": a matched volume is matched on other users
PROFIT_POLICY = "xgb_profit"  # weighs value against cost, so that its silence says something about them


def policy_sentences(result: Result) -> list[str]:
    """One sentence per policy other than the current strategy: interests, contacts, interested users, verdict."""
    return [_policy_sentence(answer, result) for answer in answers(result) if not answer.is_current]


def headline_sentence(result: Result) -> str:
    """The answer to "would another strategy have interested more users?" in one to three sentences."""
    asked = [answer for answer in answers(result) if not answer.is_reference]
    if not asked:
        return "No strategy was compared with the current one."
    better = _better(asked)
    if better:
        return _yes(better, result)
    silent = [answer for answer in asked if answer.makes_almost_no_contacts]
    refused = [answer for answer in asked if answer.refused and answer not in silent]
    judged = [answer for answer in asked if not answer.refused and answer not in silent]
    told = []
    if refused:
        reasons = {answer.primary.reason for answer in refused}
        why = _because(reasons.pop()) if len(reasons) == 1 else ""
        told.append(f"This log cannot answer the question for {_listing(refused)}{why}.")
    if judged and all(answer.primary.verdict == WORSE for answer in judged):
        told.append(f"{'' if refused else 'No: '}{_loss_clause(judged, result)}.")
    elif judged:
        which = f"Of the others, {_listing(judged)}, none" if refused else "Not shown: no strategy"
        told.append(f"{which} is better than the current one as far as this log can show.")
        if result.facts.smallest_lift > 0:
            told.append(sentence(power_clause(result.facts)))
    if silent:
        verb = "makes" if len(silent) == 1 else "make"
        told.append(f"{_listing(silent)} {verb} {_hardly_any(silent)} contacts and so cannot interest more users.")
    return " ".join(told)


def next_step_sentence(result: Result) -> str:
    """What to do where the log cannot answer for a policy; empty where it answers for all, or where no log could."""
    if not any(answer.refused and not math.isnan(answer[CONTACTS].value) for answer in answers(result)):
        return ""
    return (
        "Where this log cannot answer, these help: a longer log, more random variation in whom you contact, or a"
        " strategy closer to the current one."
    )


def power_clause(facts: Facts) -> str:
    """The smallest lift that the log could show, before any training."""
    if math.isnan(facts.smallest_lift):
        return "no lift can be shown with this log"
    return (
        "for a strategy that makes other contacts than the current one, lifts under"
        f" ±{percent(facts.smallest_lift)} cannot be shown with this log"
    )


def winner(result: Result) -> Answer | None:
    """The strategy that the headline names: shown to be better, at the current number of contacts if there is one."""
    better = _better([answer for answer in answers(result) if not answer.is_reference])
    return next((answer for answer in better if _same_volume(answer)), better[0] if better else None)


def title(result: Result) -> str:
    """The headline as a figure's title, a few words."""
    asked = [answer for answer in answers(result) if not answer.is_reference]
    best = winner(result)
    if best is not None:
        contacts = contacts_phrase(best) if result.facts.contact_is_a_choice else ""
        amount = _amount(best.primary, "interests")
        return f"{best.policy}: {amount} than the current strategy{', ' + contacts if contacts else ''}"
    refused = sum(answer.refused for answer in asked)
    if asked and refused == len(asked):
        return "This log cannot answer the question"
    left_out = f"; for {refused} of {len(asked)} this log cannot answer" if refused else ""
    return f"No strategy is shown to be better than the current one{left_out}"


def tally(result: Result) -> str:
    """How many strategies came out better, as a figure's title."""
    asked = [answer for answer in answers(result) if answer.is_estimated]
    judged = [answer for answer in asked if not answer.refused]
    better = _better(judged)
    if not judged:
        return "This log cannot answer for any of the strategies" if asked else "No strategy to compare"
    if len(better) == 1:
        return f"One strategy is shown to be better: {better[0].policy}"
    if not better:
        return "No strategy that this log can judge is shown to be better"
    return f"{len(better)} of {len(judged)} strategies are shown to be better"


def economics_sentences(result: Result) -> list[str]:
    """What a contact must promise to pay, and which policies therefore make almost none."""
    if not result.facts.contact_is_a_choice:
        return []
    value, cost = result.settings.value, result.settings.cost
    found = answers(result)
    ours = next((answer[PER_CONTACT].value for answer in found if answer.is_current), math.nan)
    sentences = []
    if value > 0 and cost > 0:
        now = "" if math.isnan(ours) else f"; of the current strategy's contacts {percent(ours)} interest"
        sentences.append(
            f"At a value of {value:g} per interest and a cost of {cost:g} per contact, a contact pays only"
            f" where the chance of interest is above {percent(cost / value)}{now}."
        )
    for answer in found:
        if answer.makes_almost_no_contacts:
            few = _hardly_any([answer])
            share = f" ({percent(1 + answer[CONTACTS].change)} of the current number)" if few != "no" else ""
            told = f"{answer.policy} makes {few} contacts{share}"
            sentences.append(
                f"{told}{_why_silent(answer, few, result.settings)}" if answer.policy == PROFIT_POLICY else f"{told}."
            )
    return sentences


def _why_silent(answer: Answer, few: str, settings: Settings) -> str:
    """Why a policy that looks at profit makes no or almost no contacts, and what to do about it."""
    text = f": by its predictions {few} contact is worthwhile at this value and this cost."
    profit = answer[PROFIT]
    if answer.makes_no_contacts and not math.isnan(profit.lift):
        than = "better than" if profit.lift > 0 else "worse than" if profit.lift < 0 else "the same as"
        current = number(profit.value - profit.lift)
        text += f" Its profit per user ({number(profit.value)}) is {than} the current strategy's ({current})."
    usual = {name: Settings.model_fields[name].default for name in ("value", "cost")}
    if usual == {"value": settings.value, "cost": settings.cost}:
        text += (
            f" Value {settings.value:g} and cost {settings.cost:g} are defaults: set your own with --value and --cost."
        )
    return text


def contacts_phrase(answer: Answer) -> str:
    """The policy's contacts against the current strategy's: "at the same number of contacts". Empty if unknown."""
    contacts = answer[CONTACTS]
    change = contacts.change
    if math.isnan(change):
        return ""
    if contacts.value == 0:
        return "without any contact"
    if answer.makes_almost_no_contacts:
        return f"with only {percent(1 + change)} of the contacts"
    if abs(change) < SAME_CONTACTS:
        return "at the same number of contacts"
    if abs(change) < ABOUT_SAME_CONTACTS:
        return "at about the same number of contacts"
    if change >= 1:
        return f"with {number(1 + change, 2)} times as many contacts"
    return f"with {percent(abs(change))} {'more' if change > 0 else 'fewer'} contacts"


def _policy_sentence(answer: Answer, result: Result) -> str:
    name, primary = answer.policy, answer.primary
    if answer.makes_no_contacts:
        return f"{name}: no contacts, so no interests and no interested users (exact)."
    if answer.refused:
        sparing = " It makes almost no contacts." if answer.makes_almost_no_contacts else ""
        others = what_other_estimators_say(name, result)
        return f"{name}: {UNANSWERABLE}{_because(primary.reason)}.{sparing}{' ' + others if others else ''}"
    if math.isnan(primary.value):
        return f"{name}: undefined{_because(primary.reason)}."
    contacts = contacts_phrase(answer) if result.facts.contact_is_a_choice else ""
    at = f" {contacts}" if contacts else ""
    if primary.verdict == NO_DIFFERENCE:
        first = f"no difference from the current strategy shown in interests per user{at} ({_evidence(primary)})"
    else:
        amount = _amount(primary, "interests")
        first = f"{amount} per user than the current strategy{at} ({_interval(primary)}){_says(primary)}"
    return f"{name}: {first}; {_interested_phrase(answer[INTERESTED])}."


def _interested_phrase(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return f"interested users: undefined{_because(estimate.reason)}"
    if estimate.verdict == UNANSWERABLE:
        return f"interested users: {UNANSWERABLE}{_because(estimate.reason)}"
    if estimate.verdict == NO_DIFFERENCE:
        return f"no difference shown in interested users ({_evidence(estimate)})"
    return f"{_amount(estimate, 'interested users')} ({_interval(estimate)}){_says(estimate)}"


def _yes(better: Sequence[Answer], result: Result) -> str:
    """The best strategy at the current volume first, since more contacts alone are no better choice of users."""
    if not result.facts.contact_is_a_choice:
        return f"Yes: {_gain_clause(better[0], '')}."
    same = [answer for answer in better if _same_volume(answer)]
    first = same[0] if same else better[0]
    text = f"Yes: {_gain_clause(first, contacts_phrase(first))}."
    if not same and first[CONTACTS].lift > 0:
        text += " At the current number of contacts no strategy is shown to be better."
    if better[0] is not first:
        most = better[0]
        text += (
            f" The most interests come from {most.policy}: {percent(most.primary.change, signed=True)}"
            f" (95 % CI {percent_range(most.primary.change_low, most.primary.change_high)}),"
            f" {contacts_phrase(most)}."
        )
    return text


def _gain_clause(answer: Answer, contacts: str) -> str:
    amount = _amount(answer.primary, "interests")
    clause = f"{answer.policy} would have won {amount} than the current strategy"
    return f"{clause}{' ' + contacts if contacts else ''} ({_interval(answer.primary)})"


def _loss_clause(worse: Sequence[Answer], result: Result) -> str:
    """That all of these are worse; of several, the one that loses least with its number."""
    least = max(worse, key=lambda answer: answer.primary.lift)
    contacts = contacts_phrase(least) if result.facts.contact_is_a_choice else ""
    if len(worse) == 1:
        return _gain_clause(least, contacts)
    told = f"{_amount(least.primary, 'interests')}{' ' + contacts if contacts else ''} ({_interval(least.primary)})"
    return (
        f"{_listing(worse)} would have won fewer interests than the current strategy; {least.policy} comes closest,"
        f" with {told}"
    )


def _amount(estimate: Estimate, what: str) -> str:
    """The lift as "12 % more interests"; in absolute numbers where the current strategy has none to compare with."""
    word = "more" if estimate.lift > 0 else "fewer"
    if math.isnan(estimate.change):
        return f"{number(abs(estimate.lift))} {word} {what}"
    if round(abs(estimate.change), 4) == 0:
        return f"as many {what}"
    return f"{percent(abs(estimate.change))} {word} {what}"


def _interval(estimate: Estimate) -> str:
    if not math.isnan(estimate.change_low):
        return f"95 % CI {percent_range(estimate.change_low, estimate.change_high)}"
    if not math.isnan(estimate.lift_low):
        return f"95 % CI {number_range(estimate.lift_low, estimate.lift_high)}"
    return "no interval"


def _evidence(estimate: Estimate) -> str:
    middle = number(estimate.lift) if math.isnan(estimate.change) else percent(estimate.change, signed=True)
    return f"{middle}, {_interval(estimate)}"


def _says(estimate: Estimate) -> str:
    return f": {estimate.verdict}" if estimate.verdict else ""


def _because(reason: str) -> str:
    text = reason.strip().rstrip(".")
    return f", because {text[0].lower() + text[1:] if text[1:2].islower() else text}" if text else ""


def _listing(found: Sequence[Answer]) -> str:
    return listing([answer.policy for answer in found])


def _hardly_any(found: Sequence[Answer]) -> str:
    return "no" if all(answer.makes_no_contacts for answer in found) else "almost no"


def _better(found: Sequence[Answer]) -> list[Answer]:
    """Those that are shown to be better, the largest lift first."""
    better = [answer for answer in found if answer.primary.verdict == BETTER]
    return sorted(better, key=lambda answer: answer.primary.lift, reverse=True)


def _same_volume(answer: Answer) -> bool:
    return abs(answer[CONTACTS].change) < ABOUT_SAME_CONTACTS

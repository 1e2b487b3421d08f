"""The answer in words says what the numbers say, and no more."""

import math
from dataclasses import replace

import pytest
from report_example import STORIES, Story, example_result

from engagex_sim.ope.verdict import BETTER, NO_DIFFERENCE, UNANSWERABLE, WORSE
from engagex_sim.report.formats import counted, number, percent, some
from engagex_sim.report.sentences import (
    economics_sentences,
    headline_sentence,
    next_step_sentence,
    policy_sentences,
    power_clause,
)
from engagex_sim.settings import Settings


def sentence_of(policy: str, **change: object) -> str:
    result = example_result(stories={policy: replace(STORIES[policy], **change)})
    (sentence,) = policy_sentences(result)
    return sentence


def test_a_better_policy_is_told_with_lift_contacts_interval_and_verdict() -> None:
    """The example of the specification, in words instead of a sign."""
    assert sentence_of("xgb_greedy", contacts=1.0) == (
        "xgb_greedy: 12 % more interests per user than the current strategy at the same number of contacts"
        " (95 % CI +3.6 % … +21 %): better; 12 % more interested users (95 % CI +3.6 % … +21 %): better."
    )


def test_no_difference_is_not_told_as_a_gain() -> None:
    sentence = sentence_of("random_matched")
    assert sentence.startswith("random_matched: no difference from the current strategy shown in interests per user")
    assert "more interests" not in sentence
    assert "fewer interests" not in sentence


def test_a_refused_policy_gives_its_reason_and_no_number_of_interests() -> None:
    sentence = sentence_of("first_chance")
    assert sentence == (
        "first_chance: cannot be answered from this log, because only 31 of the 17,004 logged contacts speak for this"
        " strategy (effective sample size), 50 are needed."
    )
    assert "62 %" not in sentence


def test_never_is_exact() -> None:
    assert sentence_of("never") == "never: no contacts, so no interests and no interested users (exact)."


@pytest.mark.parametrize(
    ("contacts", "phrase"),
    [
        (1.001, "at the same number of contacts"),
        (1.02, "at about the same number of contacts"),
        (1.35, "with 35 % more contacts"),
        (0.8, "with 20 % fewer contacts"),
        (2.4, "with 2.4 times as many contacts"),
        (0.004, "with only 0.4 % of the contacts"),
    ],
)
def test_contacts_are_told_relative_to_the_current_strategy(contacts: float, phrase: str) -> None:
    assert f" {phrase} (95 % CI" in sentence_of("xgb_greedy", contacts=contacts)


def test_contacts_are_not_told_where_contacting_is_no_choice() -> None:
    result = example_result(stories={"xgb_greedy": STORIES["xgb_greedy"]})
    fixed = replace(result, facts=replace(result.facts, contact_is_a_choice=False))
    assert "contacts" not in policy_sentences(fixed)[0] + headline_sentence(fixed)
    assert economics_sentences(fixed) == []


def test_every_policy_but_the_current_one_has_one_sentence() -> None:
    assert [sentence.split(":")[0] for sentence in policy_sentences(example_result())] == list(STORIES)


def test_headline_prefers_the_gain_at_the_same_volume_and_names_the_largest() -> None:
    headline = headline_sentence(example_result())
    assert headline.startswith("Yes: xgb_greedy would have won 12 % more interests than the current strategy at about")
    assert "The most interests come from uniform: +31 %" in headline


def test_a_gain_by_more_contacts_alone_is_said_to_be_one() -> None:
    headline = headline_sentence(example_result(stories={"uniform": STORIES["uniform"]}))
    assert headline.startswith("Yes: uniform would have won 31 % more interests")
    assert headline.endswith("At the current number of contacts no strategy is shown to be better.")


def story(verdict: str, lift: float = 0.0, contacts: float = 1.0) -> Story:
    return Story(lift, contacts, 0.03, verdict, reason="the log is too small" if verdict == UNANSWERABLE else "")


@pytest.mark.parametrize(
    ("stories", "expected"),
    [
        ({}, "No strategy was compared"),
        ({"never": STORIES["never"]}, "No strategy was compared"),
        ({"a": story(NO_DIFFERENCE), "b": story(WORSE, -0.2)}, "Not shown: no strategy is better"),
        ({"a": story(WORSE, -0.3), "b": story(WORSE, -0.2)}, "No: a and b would have won fewer interests than the"),
        (
            {"a": story(WORSE, -0.2, contacts=0.8)},
            "No: a would have won 20 % fewer interests than the current strategy with 20 % fewer contacts (95 % CI"
            " −28 % … −12 %).",
        ),
        ({"a": story(UNANSWERABLE)}, "This log cannot answer the question for a, because the log is too small."),
        (
            {"a": story(UNANSWERABLE), "b": story(WORSE, -0.2)},
            "This log cannot answer the question for a, because the log is too small. b would have won 20 % fewer",
        ),
        (
            {"a": story(UNANSWERABLE), "b": story(NO_DIFFERENCE)},
            "This log cannot answer the question for a, because the log is too small. Of the others, b, none is better",
        ),
        ({"a": story(WORSE, -1.0, contacts=0.0)}, "a makes no contacts and so cannot interest more users."),
    ],
)
def test_headline_without_a_better_policy(stories: dict[str, Story], expected: str) -> None:
    assert headline_sentence(example_result(stories=stories)).startswith(expected)


def test_a_profit_policy_that_stays_silent_is_said_to_find_no_contact_worthwhile() -> None:
    sentences = economics_sentences(example_result())
    assert sentences[0] == (
        "At a value of 5 per interest and a cost of 1 per contact, a contact pays only where the chance of interest is"
        " above 20 %; of the current strategy's contacts 3.0 % interest."
    )
    assert sentences[1] == (
        "xgb_profit makes almost no contacts (0.4 % of the current number): by its predictions almost no contact is"
        " worthwhile at this value and this cost. Value 5 and cost 1 are defaults: set your own with --value and"
        " --cost."
    )


def test_a_profit_policy_without_contacts_is_compared_in_profit() -> None:
    """Of the example's current strategy: 5 × 0.0251 − 0.85 = −0.7245."""
    result = example_result(stories={"xgb_profit": Story(-1.0, 0.0, 0.0, WORSE)})
    assert " Its profit per user (0) is better than the current strategy's (−0.724)." in economics_sentences(result)[1]


def test_a_value_and_a_cost_that_were_given_are_not_called_defaults() -> None:
    result = example_result()
    told = economics_sentences(replace(result, settings=Settings(value=7)))
    assert not any("default" in sentence for sentence in told)


def test_of_several_losses_the_smallest_is_told_with_its_interval() -> None:
    stories = {"a": story(WORSE, -0.3), "b": story(WORSE, -0.2)}
    assert headline_sentence(example_result(stories=stories)).endswith(
        "; b comes closest, with 20 % fewer interests at the same number of contacts (95 % CI −28 % … −12 %)."
    )


def test_the_smallest_lift_is_said_to_be_about_strategies_that_make_other_contacts() -> None:
    facts = example_result().facts
    clause = "for a strategy that makes other contacts than the current one, lifts under ±9.0 % cannot be shown"
    assert clause in power_clause(facts)
    headline = headline_sentence(example_result(stories={"a": story(NO_DIFFERENCE)}))
    assert f"F{clause.removeprefix('f')}" in headline
    assert power_clause(replace(facts, smallest_lift=math.nan)) == "no lift can be shown with this log"


def test_a_refusal_comes_with_what_would_help() -> None:
    assert "a longer log" in next_step_sentence(example_result(stories={"a": story(UNANSWERABLE)}))
    assert next_step_sentence(example_result(stories={"a": story(NO_DIFFERENCE)})) == ""


def test_lifts_are_absolute_where_the_current_strategy_has_no_interests() -> None:
    result = example_result(stories={"uniform": Story(0.5, 1.0, 0.01, BETTER)})
    summary = result.summary.assign(lift_percent=math.nan, lift_percent_low=math.nan, lift_percent_high=math.nan)
    sentence = policy_sentences(replace(result, summary=summary))[0]
    assert "0.0126 more interests per user" in sentence
    assert "nan" not in sentence


@pytest.mark.parametrize(
    ("share", "signed", "text"),
    [
        (0.12345, False, "12 %"),
        (0.0312, True, "+3.1 %"),
        (-0.0312, False, "−3.1 %"),
        (3.1, True, "+310 %"),
        (0.9962, False, "99.6 %"),
        (0.99999, False, "99.9 %"),
        (1.0, False, "100 %"),
        (0.0, True, "0 %"),
        (0.0001, False, "<0.1 %"),
        (math.nan, True, "—"),
    ],
)
def test_percentages(share: float, signed: bool, text: str) -> None:
    assert percent(share, signed) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.02514, "0.0251"), (12.345, "12.3"), (4310.2, "4,310"), (-0.725, "−0.725"), (0.0, "0"), (math.nan, "—")],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("n", "text"), [(0, "0 users"), (1, "1 user"), (1234, "1,234 users")])
def test_counts_agree_with_their_nouns(n: int, text: str) -> None:
    assert counted(n, "user") == text


def test_of_many_names_the_first_and_the_last_are_told() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some([str(i) for i in range(40)], most=3) == "0, 1, …, 39 (40 in all)"

"""The page: complete, self-contained, and text from data stays text."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from matplotlib.text import Text
from report_example import READER, STORIES, Story, example_result
from report_example_tables import exploration, flags

from engagex_sim.ope.verdict import BETTER
from engagex_sim.report.bounds import hidden_cause_figure
from engagex_sim.report.gallery import Picture
from engagex_sim.report.page import render_report
from engagex_sim.report.sentences import headline_sentence
from engagex_sim.result import Result
from engagex_sim.settings import Settings

PICTURE = Picture("lift.png", b"\x89PNG", 900, 'a "quoted" <alt>', "a caption")


def page_of(result: Result) -> str:
    return render_report(result, {"lift": PICTURE}, "python -m experiments.run compare --policies 'a,b'")


class Outline(HTMLParser):
    """Checks nesting and collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    assert parsed.open == []
    return parsed


def plain(text: str) -> str:
    return " ".join(text.split())


def test_the_answer_comes_first_and_every_policy_appears() -> None:
    result = example_result()
    text = plain(outline(page_of(result)).text)
    assert text.index(headline_sentence(result)) < text.index("Strategy Verdict") < text.index("Whom this is about")
    for policy in ("current", *STORIES):
        assert policy in text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = page_of(example_result())
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', page) == []
    assert "url(" not in page
    assert "<script" not in page


def test_text_from_data_is_escaped() -> None:
    """A policy, a kind, a reason, a note and a feature that would run as a script if they were taken as HTML."""
    evil = "<script>alert(1)</script>"
    stories = {evil: Story(0.2, 1.0, 0.03, BETTER), "odd": replace(STORIES["first_chance"], reason=evil)}
    example = example_result(stories=stories, kinds=(evil, "banner"))
    raised = flags(["drift"]).assign(sentence=evil)
    planned = exploration(["odd"]).assign(policy=evil, sentence=evil)
    result = replace(example, notes=(evil,), flags=raised, exploration=planned)
    page = render_report(result, {"lift": replace(PICTURE, caption=evil)}, evil)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 16


def test_pictures_have_texts_for_those_who_cannot_see_them() -> None:
    images = [attributes for tag, attributes in outline(page_of(example_result())).tags if tag == "img"]
    assert [image["alt"] for image in images] == ['a "quoted" <alt>']


def test_a_raised_flag_stands_at_the_top_and_beside_its_test() -> None:
    quiet = page_of(example_result())
    assert "What speaks against these answers" not in quiet
    assert quiet.count("nothing found") == 3
    page = page_of(replace(example_result(), flags=flags(["drift"])))
    text = plain(outline(page).text)
    assert text.index("What speaks against these answers") < text.index("Strategy Verdict")
    assert text.count("Interest changes over the period by more than the features explain") == 2
    assert "&lt;0.0001" in page


def test_what_was_not_tested_is_not_told_as_a_finding() -> None:
    nothing = example_result().flags.assign(statistic=math.nan, df=0, p_value=math.nan, sentence="This was not tested.")
    text = plain(outline(page_of(replace(example_result(), flags=nothing))).text)
    assert text.count("not tested—This was not tested.") == 3
    assert "nothing found" not in text


def test_intervals_by_every_method_are_shown_for_answered_policies_alone() -> None:
    text = plain(outline(page_of(example_result())).text)
    sure = text.partition("How sure is this")[2].partition("What could be wrong")[0]
    row = sure.partition("uniform")[2].partition("random_matched")[0]
    assert row.strip() == "7.786.06 … 9.506.06 … 9.50−9.44 … 25.0"
    assert "first_chance" not in sure
    assert "Models fitted again" not in sure  # nothing was


def test_an_interval_with_models_fitted_again_has_a_column_of_its_own() -> None:
    result = example_result()
    table = result.intervals.replace({"method": {"influence": "refit"}})
    assert page_of(replace(result, intervals=table)).count("Models fitted again") == 2  # and what it is for


def test_of_a_refused_log_no_interval_and_no_hidden_cause_is_shown() -> None:
    text = plain(outline(page_of(example_result(stories={"first_chance": STORIES["first_chance"]}))).text)
    assert "No strategy was answered, so there is no interval to rely on." in text
    assert "If something hidden drove both contact and interest" not in text


def test_hidden_causes_are_told_in_words_with_what_they_are_worth() -> None:
    text = plain(outline(page_of(example_result())).text)
    hidden = text.partition("If something hidden drove both contact and interest")[2]
    assert "uniform: a hidden cause that multiplies the odds of a contact by 1.30 for users who are more" in hidden
    assert "random_matched: its lift cannot be told from 0 even without a hidden cause." in hidden
    assert "is no independent news" in hidden


def test_a_verdict_that_its_own_interval_contradicts_is_called_a_joint_one() -> None:
    """The interval of random_matched alone leaves out 0; its verdict, for all strategies at once, is no difference."""
    result = example_result()
    table = result.sensitivity
    own = (table["policy"] == "random_matched") & (table["strength"] == 1.0)
    told = replace(result, sensitivity=table.assign(lift_low=table["lift_low"].mask(own, 0.0001)))
    hidden = plain(outline(page_of(told)).text).partition("If something hidden drove both contact and interest")[2]
    assert "random_matched: its own interval leaves out 0, but jointly with the other strategies" in hidden
    assert "so one of them may leave out 0 where the verdict" in plain(outline(page_of(told)).text)
    words = {text.get_text() for text in hidden_cause_figure(told).findobj(Text)}
    assert "not told from 0 jointly\nwith the other strategies" in words and "not told from 0 anyway" not in words


def test_what_would_make_it_answerable_is_told_for_refused_policies_only() -> None:
    text = plain(outline(page_of(example_result())).text)
    plans = text.rpartition("What would make it answerable")[2].partition("What is assumed")[0]
    assert "To answer for first_chance: contact at random where hour ≥ 18." in plans
    assert "a little randomness" in plans
    assert "first_chance± 28 %20 contacts" in plans  # rates at which nothing would be answered are left out
    answered = page_of(example_result(stories={"uniform": STORIES["uniform"]}))
    assert "What would make it answerable" not in answered


def test_no_randomness_is_recommended_that_would_not_help() -> None:
    result = replace(example_result(), exploration=exploration(["first_chance"], feasible=False))
    text = plain(outline(page_of(result)).text)
    assert "a little randomness" not in text
    assert "To answer for first_chance" in text  # whatever the plan says


def test_a_policy_that_reads_results_gets_other_estimates_and_no_verdict() -> None:
    page = page_of(example_result(stories={"reader": READER}))
    text = plain(outline(page).text)
    assert "cannot be answered from this log, because the policy reads the results of its own contacts" in text
    assert "Without a verdict: weighing whole histories (dr_traj) says" in text
    assert "Histories simulated with the reward model (dm_rollout) say" in text
    assert "a longer log" not in text  # which would not help


def test_tables_have_headers_with_a_scope() -> None:
    headers = [attributes for tag, attributes in outline(page_of(example_result())).tags if tag == "th"]
    assert headers
    assert all(header.get("scope") in ("col", "row") for header in headers)


def test_a_refused_policy_shows_its_reason_and_no_value() -> None:
    page = page_of(example_result(stories={"first_chance": STORIES["first_chance"]}))
    row = page[page.index("</span>first_chance</th>") :].partition("</tbody>")[0]
    assert "cannot be answered from this log" in row
    assert "50 are needed" in row
    assert "40.7" not in row  # interests per 1,000 users


def test_how_sure_a_refused_policy_is_says_why_it_is_refused() -> None:
    """Its effective sample size alone may look large enough."""
    story = replace(STORIES["first_chance"], ess=1073.0, largest=0.001, reason="the model is off by 60 % there")
    text = plain(outline(page_of(example_result(stories={"first_chance": story}))).text)
    sure = text.partition("Overlap with the current strategy")[2].partition("What is assumed")[0]
    assert "The model is off by 60 % there." in sure
    assert "As informative" not in sure


def test_the_next_step_is_told_once_where_something_is_refused() -> None:
    assert page_of(example_result()).count("a longer log") == 1
    assert "a longer log" not in page_of(example_result(stories={"uniform": STORIES["uniform"]}))


@pytest.mark.parametrize("change", [{"start": "free"}, {"cap_days": 0}, {"burn_in_days": 0}])
def test_without_a_burn_in_everybody_is_said_to_be_free_at_the_start(change: dict[str, object]) -> None:
    result = example_result()
    assert "The burn-in only collects this history" in page_of(result)
    page = page_of(replace(result, settings=Settings.model_validate(change)))
    assert "everybody is taken as free" in page
    assert "The burn-in only" not in page


def test_one_of_a_kind_is_told_in_the_singular() -> None:
    result = example_result()
    quality = replace(result.quality, matched=1, orphans=1, cap_violations=1, users_in_log=1)
    text = plain(outline(page_of(replace(result, quality=quality))).text)
    assert "1 contact belongs to a decision point; 1 belongs to none: it counts for" in text
    assert "1 contact of the log broke the contact cap. 1 user appears in the log." in text


def test_without_a_cap_no_contact_is_said_to_break_it() -> None:
    result = example_result()
    page = page_of(replace(result, facts=replace(result.facts, cap_days=0.0)))
    assert "broke the contact cap" not in page


def test_without_logged_propensities_the_page_says_that_nothing_was_randomised() -> None:
    text = outline(page_of(example_result(world=False))).text
    assert "The assignment was not randomised, as far as the log shows" in text
    assert "What can be concluded" in text
    assert "What cannot be concluded" in text


def test_with_logged_propensities_it_does_not() -> None:
    text = outline(page_of(example_result(world=False, propensity_logged=True))).text
    assert "not randomised" not in text


@pytest.mark.parametrize(
    "assumption",
    [
        "The timeline does not react to contacts",
        "No unobserved cause of both contact and interest",
        "Interest depends on earlier contacts only where the log shows it",
        "Users are independent",
        "Interest is not incrementality",
    ],
)
def test_every_assumption_is_printed(assumption: str) -> None:
    assert assumption in page_of(example_result())


def test_truth_is_shown_in_a_world_only() -> None:
    assert "True change" in page_of(example_result(world=True))
    assert "True change" not in page_of(example_result(world=False))


def test_nothing_undefined_is_shown_as_a_number() -> None:
    result = example_result()
    result = replace(result, facts=replace(result.facts, smallest_lift=math.nan))
    assert re.search(r"\bnan\b", outline(page_of(result)).text, re.IGNORECASE) is None
    assert "None" not in outline(page_of(result)).text.replace("None of", "")


def test_the_true_change_compares_truth_with_truth() -> None:
    """Truths of 30 and 20 per 1,000 users are a true change of +50 %, whatever the log happened to show."""
    result = example_result(stories={"uniform": STORIES["uniform"]})
    summary = result.summary.copy()
    summary.loc[summary["policy"] == "uniform", "truth"] = 0.03
    summary.loc[summary["policy"] == "current", "truth"] = 0.02
    page = page_of(replace(result, summary=summary))
    row = page[page.index("</span>uniform</th>") :].partition("</tbody>")[0]
    assert "+50\u00a0%" in row


def test_overlap_that_is_too_small_is_the_number_of_the_refusal() -> None:
    """9.96 interests and 49.96 contacts are too few: neither is rounded to what is enough."""
    name = "xgb_greedy"
    result = example_result(stories={name: replace(STORIES[name], ess=49.96)})
    table = result.overlap.assign(effective_positives=[9.96])
    rows = re.findall(r"<tr>.*?</tr>", page_of(replace(result, overlap=table)))
    cells = [re.findall(r'<td class="number">(.*?)</td>', row) for row in rows if f'"policy">{name}</th>' in row]
    assert ["49.9", "9.9"] in [[row[0], row[2]] for row in cells if len(row) > 2]
    enough = re.findall(
        r'<td class="number">(.*?)</td>', page_of(replace(result, overlap=table.assign(effective_positives=123.4)))
    )
    assert "123" in enough and "9.9" not in enough


def test_the_table_of_the_model_says_that_train_numbers_are_means() -> None:
    told = plain(outline(page_of(example_result())).text)
    assert "Train numbers, the rows too, are means over the models" in told
    assert "Train numbers, the support too, are means over the models" in told

"""The figures show every policy, in its own colour, and survive what data can hold."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from report_example import READER, STORIES, Story, example_result

from engagex_sim.ope.verdict import BETTER, UNANSWERABLE
from engagex_sim.report import bounds, diagnostics, figures, importance, lifts, style
from engagex_sim.report.gallery import draw_pictures, estimators_text
from engagex_sim.result import Result

FIGURES: tuple[Callable[[Result], Figure], ...] = (
    figures.cumulative_interest_figure,
    lifts.lift_figure,
    lifts.estimators_figure,
    bounds.hidden_cause_figure,
    diagnostics.weights_figure,
    diagnostics.reliability_figure,
    importance.importance_figure,
    importance.effects_figure,
    diagnostics.calibration_figure,
)


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_every_policy_has_one_colour_and_the_current_strategy_is_black() -> None:
    colours = style.policy_colours(example_result())
    assert set(colours) == {"current", *STORIES}
    assert len(set(colours.values())) == len(colours)
    assert colours["current"] == "#000000"


def test_thirty_policies_have_thirty_colours() -> None:
    stories = {f"policy_{i}": Story(0.1, 1.0, 0.01, BETTER) for i in range(30)}
    colours = style.policy_colours(example_result(stories=stories))
    assert len({colours[name] for name in stories}) == 30


def test_the_curve_draws_each_policy_in_its_colour() -> None:
    result = example_result(world=False)
    ax = figures.plot_cumulative_interest(result, Figure().add_subplot())
    colours = style.policy_colours(result)
    assert sorted(to_hex(line.get_color()) for line in ax.lines) == sorted(c.lower() for c in colours.values())


def test_the_curve_ends_at_the_headline_and_starts_at_zero() -> None:
    result = example_result(world=False)
    ax = figures.plot_cumulative_interest(result, Figure().add_subplot())
    current = next(line for line in ax.lines if to_hex(line.get_color()) == "#000000")
    height = np.asarray(current.get_ydata(), dtype=np.float64)
    assert height[0] == 0
    assert height[-1] == pytest.approx(25.1)


def test_of_a_crowd_only_the_highest_and_the_named_one_keep_their_bands() -> None:
    """Twelve policies: bands of `current`, of the three highest, and of the one that the title names."""
    stories = {f"policy_{i}": Story(0.1 * i, 1.0 if i == 4 else 2.0, 0.01, BETTER) for i in range(1, 12)}
    figure = figures.cumulative_interest_figure(example_result(world=False, stories=stories))
    (ax,) = figure.axes
    assert len(ax.lines) == 12
    assert len(ax.collections) == 5
    assert "policy_4: 40 %" in " ".join(texts(figure).split())
    assert "Bands, of the current strategy, policy_4 and the highest 3" in " ".join(texts(figure).split())


def test_a_refused_policy_is_dashed_without_band_and_named_as_such() -> None:
    stories = {"first_chance": STORIES["first_chance"]}
    figure = figures.cumulative_interest_figure(example_result(world=False, stories=stories))
    (ax,) = figure.axes
    assert [line.get_linestyle() for line in ax.lines] == ["--", "-"]
    assert len(ax.collections) == 1  # the current strategy's band
    assert "first_chance (cannot be answered)" in texts(figure)
    assert "40.7" not in texts(figure)  # its interests per 1,000 users


def test_the_lift_figure_names_a_refused_policy_without_its_number() -> None:
    figure = lifts.lift_figure(example_result())
    (ax,) = figure.axes
    assert "first_chance" not in [label.get_text() for label in ax.get_yticklabels()]
    assert "Not shown, since this log cannot answer for them: first_chance." in " ".join(texts(figure).split())
    assert "62 %" not in texts(figure)


def test_where_every_policy_is_refused_there_is_no_lift_figure_and_no_number_for_those_who_cannot_see() -> None:
    pictures = draw_pictures(example_result(stories={"first_chance": STORIES["first_chance"]}))
    assert "lift" not in pictures
    assert pictures["cumulative_interests"].alt.endswith("first_chance cannot be answered from this log")


def test_the_figure_of_hidden_causes_shows_answered_policies_and_what_each_withstands() -> None:
    figure = bounds.hidden_cause_figure(example_result())
    ax = figure.axes[0]
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert shown == ["uniform", "random_matched", "xgb_greedy", "xgb_profit"]
    assert "explained from 1.30 on" in texts(figure)
    assert "not told from 0 anyway" in texts(figure)  # random_matched
    assert "The gain of uniform withstands hidden causes below strength 1.30" in texts(figure)
    widths = [bar.get_width() for bar in ax.patches[: len(bounds.SHOWN)]]
    assert widths == sorted(widths, reverse=True)  # the darkest, without a hidden cause, is drawn last and narrowest


def test_where_no_policy_is_answered_there_is_no_figure_of_hidden_causes() -> None:
    assert "hidden_cause" not in draw_pictures(example_result(stories={"first_chance": STORIES["first_chance"]}))
    assert "hidden_cause" not in draw_pictures(example_result(stories={"reader": READER}))


def test_the_estimators_figure_leaves_the_shrunk_ones_to_the_table() -> None:
    figure = lifts.estimators_figure(example_result(stories={"reader": READER}))
    named = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "dm_rollout" in named and "dr_traj" in named
    assert not any("clipped" in name or "switch" in name for name in named)


def test_agreement_per_day_is_not_told_as_success() -> None:
    pictures = draw_pictures(example_result())
    assert "necessary, not sufficient" in pictures["contacts_per_day"].caption
    assert "reproduces" not in texts(diagnostics.calibration_figure(example_result()))


def test_plot_uses_the_axes_that_it_is_given() -> None:
    ax = Figure().add_subplot()
    assert example_result().plot(ax) is ax


def test_plot_without_axes_makes_some() -> None:
    from matplotlib import pyplot as plt

    plt.switch_backend("agg")
    ax = example_result().plot()
    assert isinstance(ax, Axes)
    plt.close("all")


@pytest.mark.parametrize("build", FIGURES)
def test_every_figure_can_be_drawn_for_awkward_names_and_values(build: Callable[[Result], Figure]) -> None:
    """Math markup, very long names, no weight, one policy, undefined numbers: no warning and no error."""
    stories = {"$x_{1$ 50% \\frac <b>" + "long " * 20: Story(0.1, 1.0, 0.0, UNANSWERABLE, ess=np.nan, largest=np.nan)}
    result = example_result(world=False, stories=stories)
    summary = result.summary.assign(ci_low=np.nan, lift_percent_low=np.nan, lift_percent_high=np.nan)
    result = replace(result, summary=summary, weights={name: np.zeros(9) for name in stories})
    build(result).savefig("/dev/null", format="png", dpi=30)


def test_figures_without_data_are_left_out() -> None:
    result = example_result()
    bare = replace(
        result,
        weights={},
        reliability=result.reliability.iloc[:0],
        feature_importance=result.feature_importance.iloc[:0],
        feature_effects=result.feature_effects.iloc[:0],
        calibration=result.calibration.iloc[:0],
    )
    assert set(draw_pictures(bare)) == {"cumulative_interests", "lift", "estimators", "hidden_cause"}


def test_the_text_says_why_one_step_weights_are_not_the_headline() -> None:
    text = estimators_text(example_result())
    assert "a contact blocks the next 14 days" in text
    assert "Here ips_step says +113 % for uniform, dr_cap +31 %; the truth is +32 %." in text


def test_one_step_weights_are_accused_only_where_an_answered_policy_shows_their_error() -> None:
    """Not by a refused policy, and not by one that they credit with less or with about the same."""
    low = replace(STORIES["uniform"], step_bias=-0.8)
    for stories in ({"first_chance": STORIES["first_chance"]}, {"a": low}, {"a": STORIES["random_matched"]}):
        text = estimators_text(example_result(stories=stories))
        assert "a contact blocks the next 14 days" in text
        assert "Here ips_step" not in text


def test_without_a_cap_one_step_weights_are_said_to_be_the_same() -> None:
    result = example_result()
    text = estimators_text(replace(result, facts=replace(result.facts, cap_days=0.0)))
    assert "are the same" in text


@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=12), st.floats(0.0, 0.08))
def test_labels_are_moved_apart_in_their_order(places: list[float], gap: float) -> None:
    moved = style.spread_apart(np.array(places), gap)
    order = np.argsort(places, kind="stable")
    assert np.all(np.diff(moved[order]) >= gap - 1e-9)
    assert moved.min() >= 0
    assert moved.max() <= max(1.0, gap * (len(places) - 1)) + 1e-9


def test_labels_that_have_room_stay_where_they_are() -> None:
    assert style.spread_apart(np.array([0.9, 0.1, 0.5]), 0.05) == pytest.approx([0.9, 0.1, 0.5])

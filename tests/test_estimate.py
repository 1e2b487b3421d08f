"""From observed blocks to estimates and tables, on a handmade block."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from engagex_sim.estimate import METRICS, NAMES, Estimates, estimate
from engagex_sim.observed import Observed, ObservedPolicy
from engagex_sim.ope.resampling import Resampling, resampled_sums
from engagex_sim.policy_terms import LoggedTerms, PolicyTerms, UserSums
from engagex_sim.tables import curve_table, interval_table, summary_table

USERS, DAYS = 400, 3


def terms(*, bound: float = 20.0, contacted: bool = True) -> list[PolicyTerms]:
    """Two policies on users of whom every second has one contact: one weighs all alike, one unevenly."""
    rng = np.random.default_rng(1)
    number, none = USERS // 2 if contacted else 0, np.zeros(0)
    found = []
    for weight in (np.ones(number), rng.lognormal(-0.5, 1.0, number)):
        by_day = rng.random((USERS, DAYS)) / 10
        users = UserSums(
            model=by_day.sum(axis=1),
            expected=np.full(USERS, 0.5),
            one_step_model=rng.random(USERS),
            one_step_contacts=np.full(USERS, 0.5),
            one_step_rest=np.full(USERS, 1.5),
            history_model=rng.random(USERS),
            history_contacts=rng.random(USERS),
        )
        logged = LoggedTerms(0.5 * weight, weight, weight**2, none, np.zeros(number))
        rollout = np.full((USERS, 2), np.nan)
        found.append(PolicyTerms(logged, users, by_day, rollout, np.full(USERS, bound)))
    return found


def block(policies: Sequence[PolicyTerms], *, contacted: bool = True) -> Observed:
    """Two decisions of every user, one of them a contact of every second one, if anybody is `contacted`."""
    rng = np.random.default_rng(0)
    key = rng.integers(0, 2**63, USERS).astype(np.uint64)
    active = (np.arange(USERS) % 2 == 0) & contacted
    user = np.arange(active.sum())
    reward, day = (rng.random(len(user)) < 0.4).astype(float), rng.integers(0, DAYS, len(user))
    current, resampling = np.zeros((len(user), DAYS)), Resampling.of(USERS, 0, 200)
    current[user, day] = reward
    sums = resampled_sums(np.column_stack([np.ones(USERS), 2.0 - active]), key, resampling)
    return Observed(
        resampling=resampling,
        users=sums[:, 0],
        no_contact=sums[:, 1],
        expected=np.zeros((1, 1)),
        user_key=key[active],
        current=current,
        current_contacts=np.ones(len(user)),
        user=user,
        day=day,
        reward=reward,
        predicted=np.full(len(user), 0.3),
        logging=np.full(len(user), 0.5),
        propensity_logged=np.ones(len(user), dtype=bool),
        levels=np.zeros((len(user), 1), dtype=np.int64),
        first=np.zeros(0, dtype=np.int64),
        second=np.zeros(0, dtype=np.int64),
        pair_logging=np.zeros(0),
        policies=tuple(
            ObservedPolicy.of(own, active, resampled_sums(np.column_stack([*own.users, own.by_day]), key, resampling))
            for own in policies
        ),
    )


def estimated(observed: Observed) -> Estimates:
    return estimate(observed, recalibrate=False, interest_value=5.0, contact_cost=1.0)


def test_shrunk_members_are_the_plain_form_on_shrunk_weights() -> None:
    observed = block(terms())
    found = estimated(observed)
    for p, policy in enumerate(observed.policies):
        ips, clipped = found.value[p, NAMES.index("ips_step"), 0], found.value[p, NAMES.index("clipped_ips_step"), 0]
        parameter = found.shrinkage[p, NAMES.index("clipped_ips_step")]
        assert clipped == pytest.approx((np.minimum(policy.logged.one_step, parameter) * observed.reward).sum() / USERS)
        assert clipped <= ips
    plain = [name.rsplit("_", 1)[0] in ("ips", "snips", "dm", "dr", "sndr") for name in NAMES]
    np.testing.assert_array_equal(np.isnan(found.shrinkage), np.tile(plain, (2, 1)))


def test_cumulative_weights_correct_the_model_at_the_logged_states() -> None:
    policies = terms()
    observed, users = block(policies), policies[1].users
    found, weight = estimated(observed), policies[1].logged.cumulative
    correction = (weight * (observed.reward - observed.predicted)).sum() / USERS
    robust = found.value[1, NAMES.index("dr_traj")]
    assert robust[0] == pytest.approx(users.history_model.mean() + correction)
    assert robust[METRICS.index("contacts_per_user")] == pytest.approx(users.history_contacts.mean())


def test_every_statistic_is_repeated_in_replicates_and_with_users_left_out() -> None:
    found = estimated(block(terms()))
    for repeats, own in (
        (found.jackknife, found.value),
        (found.current_jackknife, found.current),
        (found.curve_jackknife, found.curve),
    ):
        assert repeats.shape == (USERS, *own.shape)
        np.testing.assert_allclose(repeats[..., :1].mean(axis=0), own[..., :1], rtol=0.02)


def test_the_interval_table_sets_other_methods_beside_the_headline() -> None:
    found = estimated(block(terms()))
    table = interval_table(["even", "uneven"], found)
    assert table["method"].tolist() == ["bootstrap", "influence", "bernstein"] * 2
    assert table["reason"].isna().all()
    summary = summary_table(["even", "uneven"], found, USERS)
    head = summary[(summary["estimator"] == "dr_cap") & (summary["metric"] == "interests_per_user")]
    bootstrap = table[table["method"] == "bootstrap"]
    np.testing.assert_allclose(bootstrap["value_low"], head["ci_low"])
    assert (bootstrap["lift_high"].to_numpy() <= head["lift_high"].to_numpy()).all()  # those hold jointly
    bernstein = table[table["method"] == "bernstein"]
    assert (bernstein["value_high"] - bernstein["value_low"] > np.ptp(bootstrap[["value_low", "value_high"]])).all()


def test_replicates_with_models_fitted_anew_have_an_interval_of_their_own() -> None:
    found = estimated(block(terms()))
    e, m = NAMES.index("dr_cap"), METRICS.index("interests_per_user")
    wider = np.column_stack([2 * found.replicates[:, :, e, m], found.current_replicates[:, m]])
    table = interval_table(["even", "uneven"], found, wider).set_index(["policy", "method"])
    assert table.index.get_level_values("method").tolist() == ["bootstrap", "influence", "bernstein", "refit"] * 2
    width = table["value_high"] - table["value_low"]
    for policy in ("even", "uneven"):
        assert width[policy, "refit"] == pytest.approx(2 * width[policy, "bootstrap"], rel=0.05)  # and is symmetric


def test_a_policy_that_reads_results_has_cumulative_weights_and_a_model_based_answer_only() -> None:
    even, uneven = terms()
    unknown = np.full(USERS, np.nan)
    reader = replace(
        uneven,
        logged=uneven.logged._replace(contact_probability=np.full(USERS // 2, np.nan)),
        users=uneven.users._replace(model=unknown, expected=unknown),
        by_day=np.full((USERS, DAYS), np.nan),
        rollout=np.tile([0.2, 0.5], (USERS, 1)),
        bound=np.full(USERS, np.inf),
    )
    found = estimated(block([even, reader]))
    table = summary_table(["even", "reader"], found, USERS)
    rows = table[(table["policy"] == "reader") & (table["metric"] == "interests_per_user")].set_index("estimator")
    assert rows.loc["dm_rollout", "value"] == pytest.approx(0.2)
    assert np.isnan(rows.loc["dm_rollout", "lift_low"])
    assert "model-based" in rows.loc["dm_rollout", "reason"]
    assert np.isfinite(rows.loc[["ips_traj", "snips_traj", "dr_traj", "sndr_traj"], "ci_low"]).all()
    assert rows.filter(regex="_cap$", axis=0)["value"].isna().all()
    assert rows.loc["dr_cap", "verdict"] == "cannot be answered from this log"
    assert "reads the results" in rows.loc["dr_cap", "reason"]
    alone = summary_table(["even"], estimated(block([even])), USERS)
    pd.testing.assert_frame_equal(alone, table[table["policy"] != "reader"], check_dtype=False)
    curves = curve_table(["even", "reader"], found, np.arange(1, DAYS + 1), USERS, None)
    assert curves.loc[curves["policy"] == "reader", "ci_low"].isna().all()


def test_nothing_bounds_the_weights_of_a_policy_that_acts_where_the_log_never_does() -> None:
    table = interval_table(["even", "uneven"], estimated(block(terms(bound=np.inf))))
    rows = table[table["method"] == "bernstein"]
    assert rows[["value_low", "value_high", "lift_low", "lift_high"]].isna().all(axis=None)
    assert rows["reason"].notna().all()
    assert table.loc[table["method"] != "bernstein", "reason"].isna().all()


def test_overlap_and_shrinkage_count_the_users_without_contact() -> None:
    """As if each of them stood among the contacted: nothing but the form in which they are kept differs."""
    policies = terms()
    apart = block(policies)
    everybody = np.ones(USERS, dtype=bool)
    order = np.argsort(np.arange(USERS) % 2, kind="stable")  # the contacted first, so that their positions stay
    together = replace(
        apart,
        user_key=np.random.default_rng(0).integers(0, 2**63, USERS).astype(np.uint64)[order],
        current=np.concatenate([apart.current, np.zeros((USERS // 2, DAYS))]),
        current_contacts=np.concatenate([apart.current_contacts, np.zeros(USERS // 2)]),
        policies=tuple(
            replace(
                ObservedPolicy.of(own, everybody, np.column_stack([*kept.sums, kept.by_day])),
                active=UserSums(*(column[order] for column in own.users)),
            )
            for own, kept in zip(policies, apart.policies, strict=True)
        ),
    )
    found, again = estimated(apart), estimated(together)
    np.testing.assert_array_equal(found.shrinkage, again.shrinkage)
    np.testing.assert_allclose(found.bernstein, again.bernstein, rtol=1e-12)
    np.testing.assert_allclose(found.replicates, again.replicates, rtol=1e-12)
    for own, other in zip(found.overlap, again.overlap, strict=True):
        for kind, overlap in own.items():
            assert overlap == pytest.approx(other[kind], rel=1e-10)


def test_a_log_without_contacts_has_estimates_and_no_warning() -> None:
    found = estimated(block(terms(contacted=False), contacted=False))
    assert found.value[0, NAMES.index("ips_cap"), 0] == 0
    assert summary_table(["even", "uneven"], found, USERS)["reason"].notna().any()


def test_the_band_of_a_curve_never_falls_where_the_curve_does_not() -> None:
    """Whatever bounds the interests of a later day from above bounds those of an earlier one."""
    found = estimated(block(terms()))
    table = curve_table(["even", "uneven"], found, np.arange(1, DAYS + 1), USERS, None)
    for _, curve in table.groupby("policy"):
        known = curve.dropna()
        rising = known["cumulative_interests_per_1000"].diff().dropna() >= 0
        for end in ("ci_low", "ci_high"):
            assert (known[end].diff().dropna()[rising] >= -1e-9).all()
        assert known["cumulative_interests_per_1000"].between(known["ci_low"], known["ci_high"]).all()

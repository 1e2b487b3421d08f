"""Published logs are read to the numbers that are known of them."""

from pathlib import Path

import numpy as np
import pytest

from engagex_sim.cap import Cap
from engagex_sim.decision_points import decisions_of
from engagex_sim.log import read_log
from engagex_sim.settings import LogSettings
from engagex_sim.timeline import Timeline


@pytest.mark.parametrize("with_users", [False, True])
def test_coupon_campaigns_add_up(real_data: Path, with_users: bool) -> None:
    """6,589 contacts of 1,559 households in 27 campaigns of 3 kinds; 7.1 % of the gaps are under 14 days."""
    folder = real_data / "completejourney"
    settings = LogSettings()
    users = folder / "users.csv" if with_users else None
    log = read_log(folder / "triggers.csv", folder / "actions.csv", users, settings)
    assert (log.triggers_are, log.decision_points, log.kinds) == ("contacts", "day", ("1", "2", "3"))
    for quality in (log.quality.triggers, log.quality.actions):
        assert (quality.read, quality.used, quality.duplicates, quality.rejected) == (6589, 6589, 0, 0)
    assert (log.quality.matched, log.quality.orphans, log.quality.users_in_log) == (6589, 0, 1559)
    assert round(log.quality.cap_violations / (6589 - 1559), 3) == 0.071
    rates = [log.action_reward[log.action_kind == kind].mean() for kind in (1, 2, 3)]
    np.testing.assert_allclose(rates, [0.166, 0.065, 0.059], atol=5e-4)
    d = decisions_of(log, settings)
    assert (d.action > 0).sum() == 6589 and d.n_users == (1604 if with_users else 1559)
    assert Timeline.of(d, Cap(14)).breaks_cap.sum() == log.quality.cap_violations


@pytest.mark.parametrize(
    ("name", "ips", "snips", "ess", "on_policy"),
    [
        ("bts-men", 0.00300863, 0.00318942, 655.71, 0.0069),
        ("bts-women", 0.00743758, 0.00237305, 2.08, 0.0046),
        ("random-men", 0.0046, 0.0046, 10_000, 0.0046),
        ("random-women", 0.0046, 0.0046, 10_000, 0.0046),
    ],
)
def test_recommendations_give_the_known_weights(
    real_data: Path, name: str, ips: float, snips: float, ess: float, on_policy: float
) -> None:
    """Importance weights of the uniform policy, from logged propensities and kinds alone."""
    folder = real_data / "open-bandit" / name
    settings = LogSettings(triggers_are="contacts", decision_points="trigger", cap_days=0)
    d = decisions_of(read_log(folder / "triggers.csv.gz", folder / "actions.csv.gz", settings=settings), settings)
    weight = 1 / len(d.kinds) / d.propensity
    assert len(d) == d.n_users == 10_000 and not d.contact_is_a_choice
    assert d.kinds == tuple(str(item) for item in range(len(d.kinds)))
    assert d.reward.mean() == pytest.approx(on_policy)
    assert (weight * d.reward).mean() == pytest.approx(ips, abs=5e-9)
    assert (weight * d.reward).sum() / weight.sum() == pytest.approx(snips, abs=5e-9)
    assert weight.sum() ** 2 / (weight**2).sum() == pytest.approx(ess, abs=5e-3)

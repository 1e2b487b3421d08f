"""Rules beside the cap that strategies under trial obey: caps per kind, exempt kinds, quiet hours, stop after interest.

The current strategy is modelled as it is, whether or not it obeyed them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Self

import numpy as np

from engagex_sim.cap import DAY, Cap, allows
from engagex_sim.columns import BoolArray, IntArray
from engagex_sim.errors import InputError
from engagex_sim.features import History
from engagex_sim.settings import Settings

MAX_KIND_CAPS = 4  # a policy is asked about every set of kinds that may be open
HOUR = 3600


@dataclass(frozen=True)
class Rules:
    """The rules in the terms of a log with K kinds, numbered from 0."""

    windows: tuple[tuple[int, ...], ...] = ()  # [j][k] seconds for which a contact of kind j forbids k; (): the cap
    masks: tuple[tuple[bool, ...], ...] = ()  # sets of kinds that these may leave open; first all
    quiet: tuple[int, int] | None = None  # hours of the day: no contact from the first one on until the second
    stop: bool = False  # nobody is contacted again after an interest

    @classmethod
    def of(cls, settings: Settings, kinds: Sequence[str], is_choice: bool = True, by_day: bool = False) -> Self:
        """The rules that `settings` ask for in a log of these kinds.

        `is_choice` tells whether contacting is a choice, `by_day` whether decisions are by day. Raises `InputError`
        where a kind is not in the log, its cap is shorter than the general one, or a rule does not suit the log.
        """
        s = settings
        if s.rules_asked and not is_choice:
            raise InputError(
                "In this log contacting is not a choice, only the kind is, so no rule can forbid a contact: leave out"
                " --kind-cap, --exempt, --quiet-hours and --stop-after-interest."
            )
        if s.capacity is not None and not is_choice:
            raise InputError(
                "In this log contacting is not a choice, so no capacity can limit it: leave out --capacity."
            )
        if s.quiet_hours is not None and by_day:
            raise InputError("Where decisions are by day no hour of a contact is known: leave out --quiet-hours.")
        _check_kinds(s, kinds)
        if not s.kind_cap and not s.exempt:
            return cls(quiet=s.quiet_hours, stop=s.stop_after_interest)
        cap = Cap(s.cap_days).seconds
        bound = np.array([kind not in s.exempt for kind in kinds])
        own = np.array([Cap(s.kind_cap.get(kind, 0.0)).seconds for kind in kinds])
        windows = np.where(bound[:, None] & bound, cap, 0)
        capped = own > windows.diagonal()
        np.fill_diagonal(windows, np.maximum(windows.diagonal(), own))
        if capped.sum() > MAX_KIND_CAPS:
            raise InputError(f"At most {MAX_KIND_CAPS} kinds can have caps of their own, not {capped.sum()}.")
        masks = set()
        for free, *rested in product((True, False), repeat=1 + int(capped.sum())):
            is_open = ~bound | free
            is_open[capped] = np.array(rested, dtype=np.bool_) & is_open[capped]
            if is_open.any():
                masks.add(tuple(is_open.tolist()))
        return cls(
            windows=tuple(tuple(int(seconds) for seconds in row) for row in windows),
            masks=tuple(sorted(masks, reverse=True)),
            quiet=s.quiet_hours,
            stop=s.stop_after_interest,
        )

    @property
    def by_kind(self) -> bool:
        """Whether what a contact forbids depends on its kind."""
        return bool(self.windows)

    def exempt(self, cap: Cap) -> BoolArray | None:
        """(K,) the exempt kinds, where no kind has a cap of its own; None where one has, or no rule is by kind."""
        windows = np.array(self.windows)
        bound = windows.diagonal() > 0 if self.by_kind else np.zeros(0, dtype=np.bool_)
        alone = self.by_kind and np.array_equal(windows, np.where(bound[:, None] & bound, cap.seconds, 0))
        return ~bound if alone else None

    @property
    def need_history(self) -> bool:
        """Whether they ask for more of a user's history than the last contact."""
        return self.by_kind or self.stop

    @property
    def without_stop(self) -> Self:
        """The same, but that an interest ends nothing: what interests are valued by."""
        return replace(self, stop=False)

    def shortest(self, cap: Cap) -> int:
        """Seconds that lie between two contacts of a user at least."""
        return min(map(min, self.windows)) if self.windows else cap.seconds

    def awake(self, time: IntArray) -> BoolArray:
        """(n,) times outside the quiet hours, in the log's own clock."""
        if self.quiet is None:
            return np.ones(len(time), dtype=np.bool_)
        begin, end = self.quiet
        return np.asarray((time // HOUR - begin) % 24 >= (end - begin) % 24, dtype=np.bool_)

    def allowed(self, time: IntArray, history: History, cap: Cap, n_kinds: int) -> BoolArray:
        """(n, n_kinds) where a contact is allowed: the only statement of the rules together, the cap among them."""
        if self.by_kind:
            last = history.last_of_kind[:, :, None]
            free = allows.py_func(time[:, None, None], last, np.array(self.windows)).all(axis=1)
        else:
            free = np.repeat(cap.allows(time, history.last_contact)[:, None], n_kinds, axis=1)
        return np.asarray(free & self.beside_cap(time, history)[:, None], dtype=np.bool_)

    def beside_cap(self, time: IntArray, history: History) -> BoolArray:
        """(n,) where neither quiet hours nor an interest forbid a contact, whatever its kind."""
        return self.awake(time) & (history.interests == 0) if self.stop else self.awake(time)

    def opens(self, time: IntArray, history: History, cap: Cap) -> IntArray:
        """(n,) from when on some kind is allowed again, `time` (n,) at the earliest, as far as interests allow."""
        ends = history.last_contact + cap.seconds
        if self.by_kind:
            ends = (history.last_of_kind[:, :, None] + np.array(self.windows)).max(axis=1).min(axis=1)
        ends = np.maximum(ends, time)
        if self.quiet is None:
            return ends
        since_quiet = (ends - self.quiet[1] * HOUR) % DAY
        return np.where(self.awake(ends), ends, ends - since_quiet + DAY)


NO_RULES = Rules()


def rule_notes(settings: Settings) -> list[str]:
    """What the strategies under trial keep to beside the cap, and how they are valued, a sentence each."""
    s = settings
    said = [f"contacts of kind {kind} {days:g} days apart" for kind, days in s.kind_cap.items()]
    said += [f"{kind} exempt from the cap" for kind in s.exempt]
    if s.quiet_hours is not None:
        said.append(f"no contact from {s.quiet_hours[0]}:00 to {s.quiet_hours[1]}:00")
    if s.stop_after_interest:
        said.append("nobody contacted again after an interest")
    notes = []
    if said:
        notes.append(f"Every strategy but the current one keeps to rules beside the cap: {'; '.join(said)}.")
    if s.capacity is not None:
        notes.append(
            f"Every strategy but the current one makes {s.capacity:,.6g} contacts a day at most, as is to be expected:"
            " those that it ranks highest, by a price for each day that is found on the users it learns from."
        )
    unknown = [kind for kind, days in s.kind_cap.items() if days > max(s.burn_in, s.cap_days)]
    if unknown:
        notes.append(
            f"The cap of {' and '.join(unknown)} is longer than the {s.burn_in:g} days before the evaluation: contacts"
            " before the log are unknown, and are taken for none (--burn-in-days makes that history longer)."
        )
    if s.kind_cap or s.exempt:
        notes.append(
            "How often a strategy contacts under rules by kind is the mean over simulated contact histories of each"
            " user, which need no reward model; where it learns how many contacts it will make, these are of the"
            " current strategy's kinds."
        )
    if s.stop_after_interest:
        notes.append(
            "Where contacts stop after an interest, interests are the users who would be interested without that rule:"
            " until then nothing differs. Estimators that do not tell interested users are undefined, and the bounds"
            " for a hidden cause take the interests that are prevented as they are."
        )
    return notes


def _check_kinds(settings: Settings, kinds: Sequence[str]) -> None:
    unknown = [kind for kind in (*settings.kind_cap, *settings.exempt) if kind not in kinds]
    if unknown:
        raise InputError(f"There is no kind of contact {unknown[0]!r} in this log; there are: {', '.join(kinds)}.")
    for kind, days in settings.kind_cap.items():
        if days < settings.cap_days and kind not in settings.exempt:
            raise InputError(
                f"The cap of {kind}, {days:g} days, is shorter than the general one of {settings.cap_days:g} days,"
                f" which holds for it too; lower --cap-days, or add --exempt {kind}."
            )

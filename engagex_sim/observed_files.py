"""Observed blocks on disk, as arrays to the last bit."""

from collections.abc import Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import TypeVar

import numpy as np

from engagex_sim.columns import AnyArray
from engagex_sim.observed import Observed, ObservedPolicy
from engagex_sim.ope.resampling import Resampling
from engagex_sim.policy_terms import LoggedTerms, UserSums

Terms = TypeVar("Terms", LoggedTerms, UserSums)
_TOGETHER = ("logged", "active", "others", "sums")  # a policy's named arrays
_ALONE = ("by_day", "rollout", "bound")
_OF_BLOCK = tuple(field.name for field in fields(Observed) if field.name not in ("resampling", "policies"))


def save_observed(observed: Observed, path: Path) -> None:
    """Write a block into one uncompressed .npz file."""
    arrays: dict[str, AnyArray] = {name: getattr(observed, name) for name in _OF_BLOCK}
    arrays["resampling"] = np.array(astuple(observed.resampling), dtype=np.int64)
    arrays["policies"] = np.array(len(observed.policies))
    for p, policy in enumerate(observed.policies):
        for group in _TOGETHER:
            arrays |= {f"{p}.{group}.{name}": array for name, array in getattr(policy, group)._asdict().items()}
        arrays |= {f"{p}.{name}": np.asarray(getattr(policy, name)) for name in _ALONE}
    np.savez(path, allow_pickle=False, **arrays)


def load_observed(path: Path) -> Observed:
    """The block that `save_observed` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    policies = []
    for p in range(int(arrays["policies"])):
        policy = {name.removeprefix(f"{p}."): array for name, array in arrays.items() if name.startswith(f"{p}.")}
        policies.append(
            ObservedPolicy(
                logged=_together(LoggedTerms, "logged", policy),
                active=_together(UserSums, "active", policy),
                others=_together(UserSums, "others", policy),
                sums=_together(UserSums, "sums", policy),
                by_day=policy["by_day"],
                rollout=policy["rollout"],
                bound=float(policy["bound"]),
            )
        )
    resampling = Resampling(*arrays["resampling"].tolist())
    return Observed(resampling=resampling, policies=tuple(policies), **{name: arrays[name] for name in _OF_BLOCK})


def _together(kind: type[Terms], group: str, arrays: Mapping[str, AnyArray]) -> Terms:
    return kind(*(arrays[f"{group}.{name}"] for name in kind._fields))

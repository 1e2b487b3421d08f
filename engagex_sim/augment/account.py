"""What became of every synthetic row: asked for, received, rejected and used."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from engagex_sim.augment.realism import MIN_ROWS

TOO_FEW = f"fewer than {MIN_ROWS} real or written rows"  # why there is no AUC


@dataclass(frozen=True)
class Account:
    """The rows written for one training set. Received are those rejected and those used."""

    rows: int  # real ones, of both classes
    examples: int  # of the rarer class, which new rows are made from
    wanted: int  # for the classes to weigh the same
    requests: int  # to a server
    asked: int  # rows
    received: int
    rejected: Mapping[str, int]  # by reason
    troubles: Mapping[str, int]  # requests that brought nothing, by reason
    used: int
    auc: float  # of a classifier that tells used rows from examples; NaN where there are too few

    @property
    def repeated(self) -> int:
        """Rows of the rarer class, real and written, that stand twice or more because too few new ones came."""
        return self.wanted - self.used

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, for `from_json`; an undefined AUC is None with a reason."""
        undefined = math.isnan(self.auc)
        return (
            asdict(self)
            | {"rejected": dict(self.rejected), "troubles": dict(self.troubles), "repeated": self.repeated}
            | {"auc": None if undefined else self.auc, "auc_reason": TOO_FEW if undefined else None}
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The account that `to_json` wrote down."""
        own = {name: stored[name] for name in cls.__dataclass_fields__}
        return cls(**own | {"auc": math.nan if own["auc"] is None else own["auc"]})


def total(accounts: Iterable[Account]) -> dict[str, Any]:
    """The sums over training sets, and the mean AUC of those that have one."""
    each = list(accounts)
    aucs = [account.auc for account in each if not math.isnan(account.auc)]
    counted = ("wanted", "requests", "asked", "received", "used", "repeated")
    return {
        "training_sets": len(each),
        **{name: sum(getattr(account, name) for account in each) for name in counted},
        "rejected": _summed(account.rejected for account in each),
        "troubles": _summed(account.troubles for account in each),
        "auc": sum(aucs) / len(aucs) if aucs else None,
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts by reason, added up, the most frequent reason first."""
    added: Counter[str] = Counter()
    for count in counts:
        added.update(count)
    return dict(sorted(added.items(), key=lambda item: (-item[1], item[0])))


def report(described: Mapping[str, str | int], by_fold: Sequence[Sequence[Account]]) -> dict[str, Any]:
    """Everything about the synthetic rows of a run, for `augmentation.json`; accounts by fold of the cross-fit."""
    sums = total(account for accounts in by_fold for account in accounts)
    return {
        "generator": dict(described),
        "sentence": sentence(described, sums),
        "total": sums,
        "training_sets": [
            {"fold": fold, **account.to_json()} for fold, accounts in enumerate(by_fold) for account in accounts
        ],
    }


def sentence(described: Mapping[str, str | int], sums: Mapping[str, Any]) -> str:
    """What was asked, received, rejected and used, in one sentence."""
    if not sums["training_sets"]:
        return "No synthetic rows were needed: the reward model had too little to learn from, or balanced classes."
    who = f"the language model {described['model']}" if "model" in described else "the local generator"
    rejected = sum(sums["rejected"].values())
    why = "; ".join(f"{reason}: {count:,}" for reason, count in sums["rejected"].items())
    told = (
        f"Synthetic rows for the {sums['training_sets']} training sets of the reward model: asked for"
        f" {sums['asked']:,}, {who} wrote {sums['received']:,}; {sums['used']:,} were used and {rejected:,} rejected"
        f"{f' ({why})' if why else ''}"
    )
    if sums["repeated"]:
        told += (
            f"; balanced classes take {sums['wanted']:,}, so rows of the rarer class, real and written, are repeated"
            f" for the other {sums['repeated']:,}"
        )
    troubles = ", ".join(f"{reason}: {count:,}" for reason, count in sums["troubles"].items())
    if troubles:
        told += f"; of {sums['requests']:,} requests these brought nothing: {troubles}"
    if sums["auc"] is not None:
        told += (
            f"; a classifier tells them from real rows with a ROC AUC of {sums['auc']:.2f} (1: always, 0.5: not at all;"
            " below, they lie close to single real ones)"
        )
    else:
        told += f"; how real they look cannot be told from fewer than {MIN_ROWS} real and written rows"
    return told + "."

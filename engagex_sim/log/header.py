"""What is known of a stored log without loading any of its blocks."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.columns import AnyArray, IntArray
from engagex_sim.log.data import LogFacts
from engagex_sim.log.layout import Layout, Translation
from engagex_sim.log.quality import REJECTED_COLUMNS, DataQuality, FileQuality
from engagex_sim.log.storage import read, write

_TUPLES = ("kinds", "notes", "trigger_columns", "attributes", "giveaways")


@dataclass(frozen=True)
class Header:
    """The facts of a log, how its columns are stored, and how much there is in each block, shape (n_blocks,) each."""

    facts: LogFacts
    layout: Layout
    users: IntArray
    triggers: IntArray
    contacts: IntArray
    sizes: IntArray  # of the blocks' files, in bytes

    def write(self, path: Path) -> None:
        """Store it."""
        arrays: dict[str, AnyArray] = {
            "users": self.users,
            "triggers": self.triggers,
            "contacts": self.contacts,
            "sizes": self.sizes,
            "contact_days": self.facts.contact_days,
            "kind_of_code": self.layout.kind_of_code,
        }
        for role, translations in (("trigger", self.layout.trigger_columns), ("attribute", self.layout.attributes)):
            for i, translation in enumerate(translations.values()):
                parts = {"categories": translation.categories, "numbers": translation.numbers}
                arrays |= {f"{role}_{i}_{name}": part for name, part in parts.items() if part is not None}
        texts = {}
        for name in REJECTED_COLUMNS:
            column = self.facts.quality.rejected[name]
            if name == "line":
                arrays["rejected_line"] = column.to_numpy(dtype=np.int64)
            else:
                codes, distinct = pd.factorize(column)
                arrays[f"rejected_{name}"], texts[name] = codes.astype(np.int32), [str(text) for text in distinct]
        write(path, {"facts": _plain(self.facts), "rejected": texts}, arrays)

    @classmethod
    def read(cls, path: Path) -> "Header":
        """What was stored. Raises `DamagedError`."""
        plain, arrays = read(path)
        rejected = {
            name: np.array(plain["rejected"][name], dtype=object)[codes] if name in plain["rejected"] else codes
            for name, codes in ((name, arrays[f"rejected_{name}"]) for name in REJECTED_COLUMNS)
        }
        facts = _facts(plain["facts"], pd.DataFrame(rejected), arrays["contact_days"])
        translations = [
            {
                column: Translation(arrays.get(f"{role}_{i}_categories"), arrays.get(f"{role}_{i}_numbers"))
                for i, column in enumerate(names)
            }
            for role, names in (("trigger", facts.trigger_columns), ("attribute", facts.attributes))
        ]
        layout = Layout(translations[0], translations[1], arrays["kind_of_code"])
        return cls(facts, layout, **{name: arrays[name] for name in ("users", "triggers", "contacts", "sizes")})


def _plain(facts: LogFacts) -> dict[str, Any]:
    """The facts as JSON can say them, without rejected rows and days."""
    values = {field.name: getattr(facts, field.name) for field in fields(facts)}
    del values["contact_days"], values["quality"]
    quality = {name: value for name, value in vars(facts.quality).items() if name != "rejected"}
    files = {
        name: None if quality[name] is None else asdict(quality[name]) for name in ("triggers", "actions", "users")
    }
    return values | {"quality": quality | files}


def _facts(plain: dict[str, Any], rejected: pd.DataFrame, contact_days: IntArray) -> LogFacts:
    quality = plain["quality"]
    files = {
        name: None if quality[name] is None else FileQuality(**quality[name])
        for name in ("triggers", "actions", "users")
    }
    values = plain | {name: tuple(plain[name]) for name in _TUPLES}
    values["quality"] = DataQuality(**(quality | files), rejected=rejected)
    return LogFacts(**values, contact_days=contact_days)

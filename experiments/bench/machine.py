"""The machine in general terms."""

import os
import platform
from importlib.metadata import version

from experiments.options import cores

GIB = 2**30


def described() -> str:
    """Cores and memory: 2 cores, 24 GiB of memory."""
    n, memory = cores(), ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / GIB:.0f} GiB of memory"
    return f"{n} core{'s' * (n > 1)}{memory}"


def versions() -> str:
    """Of Python and of the packages that speed depends on."""
    packages = (f"{name} {version(name)}" for name in ("numpy", "numba", "xgboost", "duckdb", "pandas"))
    return ", ".join([f"Python {platform.python_version()}", *packages])

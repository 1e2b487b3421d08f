"""What several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real logs; tests that need it are skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ENGAGEX_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip("real logs are not here; name their folder in ENGAGEX_REAL_DATA")
    return folder

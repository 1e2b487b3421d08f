"""What several test files share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The first example pays for compilation, so examples have no deadline; in CI the same examples are tried every time.
settings.register_profile("default", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Logs that are read are kept where they go with the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real logs; tests that need it are skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ENGAGEX_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip("real logs are not here; name their folder in ENGAGEX_REAL_DATA")
    return folder

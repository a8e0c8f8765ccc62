"""The whole public sets, where this machine has them."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def public(shared: Path) -> Callable[[str], Path]:
    """Folder of a public set by its name; without it the test is skipped and says what to set."""

    def folder(name: str) -> Path:
        if not (shared / name).is_dir():
            pytest.skip(f"no {name} in {shared}: set LOCALENT_TEST_DATA to a folder that holds gsm8k, svamp and arc")
        return shared / name

    return folder

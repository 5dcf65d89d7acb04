"""What several tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def data_folder() -> Path:
    """The folder of larger public data sets; tests over them are skipped where there is none."""
    folder = os.environ.get("GATEWISE_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("GATEWISE_DATA does not name a folder of data sets")
    return Path(folder)

"""What takes long is named while it does; what is short is not."""

import logging
import time

import pytest

from gatewise import phases
from gatewise.phases import Phase


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.DEBUG, logger="gatewise.phases")

    def said():
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return said


def test_a_phase_that_lasts_is_named_before_it_is_over(said, monkeypatch):
    monkeypatch.setattr(phases, "SILENCE", 0.01)
    with Phase("Reading the data"):
        deadline = time.monotonic() + 20
        while len(said()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said() == [("DEBUG", "Reading the data"), ("INFO", "Reading the data ...")]


def test_a_short_phase_is_known_to_a_bar_and_not_said(said, monkeypatch):
    monkeypatch.setattr(phases, "SILENCE", 0.1)
    with Phase("Reading the data"):
        pass
    time.sleep(0.2)
    assert said() == [("DEBUG", "Reading the data")]

"""Slow phases are named while they run, short ones are not."""

import logging
import time

import pytest

from gatewise.training import phases
from gatewise.training.phases import Phase


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.DEBUG, logger="gatewise.training.phases")

    def said():
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return said


def test_a_long_phase_is_named_before_it_ends(said, monkeypatch):
    monkeypatch.setattr(phases, "SILENCE", 0.01)
    with Phase("Reading the data"):
        deadline = time.monotonic() + 20
        while len(said()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said() == [("DEBUG", "Reading the data"), ("INFO", "Reading the data ...")]


def test_a_short_phase_reaches_a_progress_bar_but_is_not_logged(said, monkeypatch):
    monkeypatch.setattr(phases, "SILENCE", 0.1)
    with Phase("Reading the data"):
        pass
    time.sleep(0.2)
    assert said() == [("DEBUG", "Reading the data")]

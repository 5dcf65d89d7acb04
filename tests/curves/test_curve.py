"""Curves of validation scores by the amount of data and by the learning rate."""

import csv
import logging
import signal

import numpy as np
import pytest

import gatewise
from gatewise.curves.rate import POINTS
from gatewise.errors import ConfigError
from gatewise.judging.audit import audit
from gatewise.training import ready


@pytest.fixture(scope="module")
def by_size(sequences_file, classify_settings, tmp_path_factory):
    page = tmp_path_factory.mktemp("curves") / "curve.html"
    audits = []

    def counted(*given):
        audits.append(audit(*given))
        return audits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ready, "audit", counted)
        content = gatewise.curve(sequences_file, settings=classify_settings, repeats=1, page=page)
    assert len(audits) == 1, "the parts are audited once, and their shares not at all"
    return content, page.read_text(encoding="utf-8")


def test_the_last_point_is_the_score_of_an_ordinary_run(by_size, classify_run):
    content, _ = by_size
    with (classify_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = [float(row[f"val_{content['metric']}"]) for row in rows]
    assert content["points"][-1]["scores"] == [pytest.approx(max(values))]
    amounts = [one["amount"] for one in content["points"]]
    assert amounts == sorted(amounts) and amounts[-1] == 28


def test_the_sentence_the_prediction_and_the_page_agree(by_size):
    content, page = by_size
    twice, check = content["twice"], content["check"]
    if twice is None:
        assert "do not follow a power law" in content["sentence"]
        return
    assert twice["amount"] == 2 * content["points"][-1]["amount"]
    assert twice["low"] <= twice["score"] <= twice["high"]
    assert check["held"] == (check["low"] <= check["actual"] <= check["high"])
    assert f"about {twice['score']:.4g}" in content["sentence"]
    assert content["sentence"] in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_range_test_finds_where_the_loss_falls(sequences_file, classify_settings):
    content = gatewise.curve(sequences_file, settings=classify_settings, by="learning-rate")
    rates = np.array([one["rate"] for one in content["points"]])
    np.testing.assert_allclose(rates[1:] / rates[:-1], 10 ** (6 / (POINTS - 1)), rtol=1e-6)
    losses = [one["val_loss"] for one in content["points"]]
    assert content["lowest"] == rates[np.argmin(losses)]
    assert content["falls"] <= content["lowest"]
    assert losses[0] == pytest.approx(content["start"], rel=0.01)  # a thousandth changes nothing


def test_a_range_test_that_was_stopped_says_so_and_does_not_say_that_the_loss_diverged(
    sequences_file, classify_settings, caplog, monkeypatch
):
    def emit(record):
        if record.getMessage().startswith("learning rate"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(caplog.handler, "emit", emit)
    with caplog.at_level(logging.INFO, logger="gatewise"):
        content = gatewise.curve(sequences_file, settings=classify_settings, by="learning-rate")
    assert len(content["points"]) == 1
    assert "no number" not in content["sentence"] and "no learning rate" not in content["sentence"]
    assert content["remarks"] == [f"Ctrl-C stopped the test after 1 of {POINTS} learning rates."]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"by": "epochs"}, "--by must be one of size, learning-rate"),
        ({"repeats": 0}, "--repeats must be a whole number"),
        ({"page": "curve.txt"}, r"ending in \.html"),
        ({"settings": {"split": {"validation": 0.0}}}, "split.validation"),
    ],
)
def test_a_wrong_curve_is_refused(sequences_file, change, reason):
    with pytest.raises(ConfigError, match=reason):
        gatewise.curve(sequences_file, **change)

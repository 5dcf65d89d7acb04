"""A language model with n-grams: the mean of two probabilities, wherever it answers."""

import json

import numpy as np
import pytest

import gatewise
from gatewise.errors import ConfigError
from gatewise.tasks.language import blend
from gatewise.tasks.language.task import TASK

TEXT = "".join(f"{k} green bottles hanging on the wall\n" for k in range(99, 0, -1))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose network is too small and too little trained to be better than n-grams."""
    folder = tmp_path_factory.mktemp("blended")
    (folder / "song.txt").write_text(TEXT)
    settings = {
        "task": {"name": "language", "blend": "auto"},
        "network": {"units": [6]},
        "training": {"epochs": 1, "batch_size": 4, "quality": "good", "refit": "no"},
        "evaluation": {"n_resamples": 100},
    }
    return gatewise.train(folder / "song.txt", settings=settings, output=folder / "run")


def test_the_share_is_the_best_on_the_validation_part(run):
    network = np.array([0.5, 3.0, 1.0, 2.0])
    counted = np.array([2.0, 0.3, 1.0, 0.1])
    preparation = gatewise.load(run.artefact.folder).preparation
    own = preparation.own
    assert own.blend == "ngrams"

    def chosen(given, *said):
        fitted = type(own)(own.vocabulary, own.lookback, blend=given)
        some = type(preparation)(**{**vars(preparation), "own": fitted})
        return blend.choose(some, said[0], {blend.name_of(some): said[1]}, None).own

    best = chosen("auto", network, counted)
    losses = [
        -np.log((1 - share) * np.exp(-network) + share * np.exp(-counted)).mean()
        for share in blend.SHARES
    ]
    assert best.share == blend.SHARES[int(np.argmin(losses))]
    # N-grams that never help are left out, unless they are asked for.
    assert chosen("auto", network, network + 1).blend == "none"
    assert chosen("ngrams", network, network + 1).share == blend.SHARES[0]
    assert chosen("none", network, counted).blend == "none"


def test_the_answer_is_the_mean_of_both_probabilities(run):
    artefact = gatewise.load(run.artefact.folder)
    own, lines = artefact.preparation.own, TEXT[-200:]
    examples = TASK.examples(
        gatewise.data.sequences.from_texts([lines, "no bottles\n"]),
        artefact.preparation,
        artefact.experiment,
        "test",
    )
    alone, counted = np.random.default_rng(0).uniform(0.1, 5, (2, len(examples.source.stream)))
    quick, _ = TASK.quick(artefact.preparation, artefact.experiment)
    assert TASK.postprocess(alone, examples, quick, artefact.baselines) is alone
    found = TASK.postprocess(alone, examples, artefact.preparation, artefact.baselines)
    stream = examples.source.stream
    mixture = blend.mixture_of(artefact.baselines, artefact.preparation)
    # Each text begins anew, whatever stands before it.
    begins = [0, int(stream.texts[1])]
    for begin, end in zip(begins, stream.texts[1:], strict=True):
        tokens = stream.tokens[begin:end]
        counted = np.exp(-mixture.model.token_nll(tokens))
        wanted = (1 - own.share) * np.exp(-alone[begin:end]) + own.share * counted
        np.testing.assert_allclose(np.exp(-found[begin:end]), wanted, rtol=1e-9)


def test_the_verdict_is_of_both_and_the_network_has_a_row_of_its_own(run):
    metrics = run.metrics
    assert metrics["answer"] == "LSTM with 7-gram (Kneser-Ney)"
    assert metrics["metrics"]["perplexity"] < metrics["alone"]["perplexity"]
    held = json.loads((run.artefact.folder / "splits.json").read_text())
    _, begin, end = held["test"][0]
    again = gatewise.evaluate(run.artefact.folder, [TEXT[begin:end]])
    assert again["metrics"] == pytest.approx(metrics["metrics"], rel=1e-4)
    assert again["alone"] == pytest.approx(metrics["alone"], rel=1e-4)


@pytest.mark.parametrize("other", ["ridge", "logistic"])
def test_the_blend_of_another_task_is_refused(other, tmp_path):
    (tmp_path / "song.txt").write_text(TEXT)
    settings = {"task": {"name": "language", "blend": other}}
    with pytest.raises(ConfigError, match=rf"{other} is a blend of .*has task\.blend = ngrams"):
        gatewise.train(tmp_path / "song.txt", settings=settings)

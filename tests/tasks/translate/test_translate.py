"""translate: pairs become tokens, and scores follow the definitions of the field."""

import itertools
import logging

import numpy as np
import pytest
import sacrebleu

from gatewise.baselines.dictionary import by_words, fit_dictionary
from gatewise.data.sequences import from_texts, texts_of
from gatewise.data.vocabulary import BEGIN, END, UNKNOWN
from gatewise.errors import ConfigError, DataError
from gatewise.settings import from_mapping
from gatewise.tasks.translate import task as translate
from gatewise.tasks.translate.task import Hypothesis, Translation

SOURCES = ["the house", "the book", "a book", "a house is a house", "the big book"]
TARGETS = ["das Haus", "das Buch", "ein Buch", "ein Haus ist ein Haus", "das große Buch"]


def pairs(sources=SOURCES, targets=TARGETS, **known):
    return from_texts(sources, labels=np.array(targets, dtype=object), **known)


def settled(**settings):
    experiment = from_mapping({"task": {"name": "translate"}} | settings)
    return translate.resolve(experiment, pairs(), pairs())[0]


def prepared(some=None, **preparation):
    given = {"tokenizer": "words", "min_frequency": 1} | preparation
    experiment = settled(preparation=given)
    return translate.prepare(some or pairs(), experiment), experiment


def test_few_pairs_have_few_subwords_and_small_batches():
    few, plain = settled(), settled(training={"quality": "fast"})
    given = settled(preparation={"vocabulary_size": 500}, training={"max_tokens": 64})
    found = [(one.preparation.vocabulary_size, one.training.max_tokens) for one in (few, plain)]
    assert found == [(2_000, 1_024), (8_000, 2_048)]
    assert (given.preparation.vocabulary_size, given.training.max_tokens) == (500, 64)


# The dictionary.


def expectation_maximisation(sources, targets, rounds):
    """IBM model 1 by its definition (Brown et al. 1993), with the empty word in front."""
    left, right = ([text.split() for text in side] for side in (sources, targets))
    words = sorted({one for text in left for one in text} | {""})
    answers = sorted({one for text in right for one in text})
    probability = {pair: 1.0 for pair in itertools.product(words, answers)}
    for _ in range(rounds):
        counts = dict.fromkeys(probability, 0.0)
        for one, other in zip(left, right, strict=True):
            for answer in other:
                whole = sum(probability[word, answer] for word in ["", *one])
                for word in ["", *one]:
                    counts[word, answer] += probability[word, answer] / whole
        total = {word: sum(counts[word, answer] for answer in answers) for word in words}
        probability = {
            (word, answer): counts[word, answer] / total[word] for word, answer in counts
        }
    return probability


@pytest.mark.parametrize("rounds", [1, 5])
def test_the_dictionary_is_that_of_ibm_model_1(rounds):
    probability = expectation_maximisation(SOURCES, TARGETS, rounds)
    found = fit_dictionary(SOURCES, TARGETS, rounds=rounds)
    assert set(found) == {word for text in SOURCES for word in text.split()}
    for word, answer in found.items():
        best = max(value for (one, _), value in probability.items() if one == word)
        assert probability[word, answer] == pytest.approx(best)


def test_words_are_translated_in_place_and_unknown_ones_are_copied():
    dictionary = fit_dictionary(SOURCES, TARGETS)
    assert by_words("a book, the Zeppelin!", dictionary) == "ein Buch, das Zeppelin!"


# Preparation.


def test_the_vocabulary_comes_from_train_only_and_may_be_shared():
    (shared, _), _ = prepared()
    assert set(shared.own.vocabularies) == {"source"}
    assert {"house", "Haus"} <= set(shared.own.vocabularies["source"].tokens)
    (apart, notes), _ = prepared(shared_vocabulary=False)
    assert "Haus" not in apart.own.vocabularies["source"].tokens
    assert "house" not in apart.own.vocabularies["target"].tokens
    assert "source and target" in notes[0]
    assert translate.shapes(None, apart).output == (len(apart.own.vocabularies["target"]),)


def test_the_decoder_reads_the_target_one_step_late():
    (preparation, _), experiment = prepared(shared_vocabulary=False)
    some = translate.examples(pairs(), preparation, experiment, "train")
    given, wanted = some.inputs(np.array([0, 3]), 6), some.targets(np.array([0, 3]), 6)
    source, target = preparation.own.vocabularies["source"], preparation.own.vocabularies["target"]
    assert source.decode(given["source"][0]) == "the house"
    assert given["target"][:, 0].tolist() == [BEGIN, BEGIN]
    np.testing.assert_array_equal(
        given["target"][:, 1:], np.where(wanted == END, 0, wanted)[:, :-1]
    )
    assert target.decode(wanted[1]) == "ein Haus ist ein Haus" and wanted[1, 5] == END
    assert wanted[0].tolist()[2:] == [END, 0, 0, 0]
    assert some.lengths.tolist() == [3, 3, 3, 6, 4]


def test_long_pairs_are_left_out_of_training_and_cut_in_prediction(caplog):
    (preparation, notes), experiment = prepared(max_length=3)
    assert "1 of 5 training pairs have more than 3 tokens" in notes[1]
    train = translate.examples(pairs(), preparation, experiment, "train")
    assert len(train) == 4 and "a house is a house" not in texts_of(train.source)
    with caplog.at_level(logging.INFO, logger="gatewise"):
        test = translate.examples(pairs(), preparation, experiment, "test")
    assert len(test) == 5 and test.lengths.max() == 3
    assert "1 of 5 texts have more than 3 tokens" in caplog.text
    end, _ = prepared(max_length=3, truncation="start")
    cut = translate.examples(pairs(), end[0], experiment, "predict").inputs(np.array([3]), 3)
    assert end[0].own.vocabularies["source"].decode(cut["source"][0]) == "is a house"


def test_overlong_error_stops_with_the_pair():
    with pytest.raises(DataError, match=r"pair '3' has 5 tokens.*max_length is 3"):
        prepared(max_length=3, truncation="error")


def test_pairs_with_one_source_text_stay_in_one_part():
    sources = [f"text {k % 30}" for k in range(90)]
    some = pairs(sources, [f"Satz {k}" for k in range(90)])
    parts = translate.split(some, settled(split={"test": 0.3, "validation": 0.2}), True)
    seen = [set(texts_of(part)) for part in (parts.train, parts.validation, parts.test)]
    assert all(not one & other for one, other in itertools.combinations(seen, 2))
    assert sum(map(len, seen)) == 30
    labels = np.concatenate([one.labels for one in (parts.train, parts.validation, parts.test)])
    assert sorted(labels) == sorted(some.labels)


def test_the_test_part_may_be_named_by_ids_and_groups_must_be_there():
    some = pairs()
    parts = translate.split(some, settled(split={"test_ids": "^[01]$", "validation": 1}), True)
    assert parts.test.ids.tolist() == ["0", "1"] and parts.test.labels.tolist() == TARGETS[:2]
    for given, said in (
        ({"split": {"by": "time"}}, "split.by = time"),
        ({"split": {"by": "group"}}, "has no groups"),
        ({"data": {"group": "speaker"}}, "has no groups"),
    ):
        with pytest.raises(ConfigError, match=said):
            translate.split(some, settled(**given), True)


def test_where_every_pair_is_too_long_the_key_is_named():
    with pytest.raises(DataError, match=r"every training pair has more than 1 token.*max_length"):
        prepared(max_length=1)


def test_texts_without_translations_are_refused():
    with pytest.raises(ConfigError, match="has no translations"):
        translate.split(from_texts(["a"]), from_mapping({}), True)


# Answers.


def test_an_unknown_word_is_copied_from_the_source_by_attention():
    (preparation, _), experiment = prepared(shared_vocabulary=False)
    target = preparation.own.vocabularies["target"]
    some = translate.examples(from_texts(["the Zeppelin"]), preparation, experiment, "predict")
    tokens = np.array([target.tokens.index("das"), UNKNOWN])
    found = [Hypothesis(tokens, 0.0, np.array([[0.9, 0.1], [0.2, 0.8]]))]
    (answer,) = translate.postprocess(found, some, preparation, {})
    assert answer.text == "das Zeppelin" and answer.tokens == ("das", "Zeppelin")


def test_an_empty_text_has_an_empty_translation():
    (preparation, _), experiment = prepared()
    some = translate.examples(from_texts(["", "the"]), preparation, experiment, "predict")
    found = [Hypothesis(np.array([5]), 0.0, np.ones((1, 1)))] * 2
    answers = translate.postprocess(found, some, preparation, {})
    assert answers[0].text == "" and answers[1].text
    table = translate.table(answers, some, preparation, np.arange(2))
    assert table["translation"].to_list() == [one.text for one in answers]


# Scores.

WORDS = ["a", "man", "rides", "his", "bike", ",", "."]


def random_texts(seed, count, longest=12):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=random.integers(1, longest))) for _ in range(count)]


@pytest.mark.parametrize(
    ("ours", "wanted"),
    [
        (random_texts(0, 40), random_texts(1, 40)),
        (random_texts(2, 3), random_texts(3, 3)),
        (["a man"], ["a man rides"]),  # no run of three: sacrebleu says 0
        (["a man rides bike"], ["a man his bike ."]),  # smoothed twice
        (["x y z w v"], ["a b c d e"]),
    ],
)
def test_bleu_of_summed_counts_is_sacrebleus_corpus_bleu(ours, wanted):
    sums = translate.counts_of(ours, wanted).sum(axis=0)
    score = sacrebleu.corpus_bleu(ours, [wanted]).score
    assert translate.bleu_of(sums) == pytest.approx(score, abs=1e-9)
    assert translate.bleu_of(np.stack([sums, sums])).shape == (2,)


def test_scores_are_those_of_sacrebleu():
    some = pairs(random_texts(4, 20), random_texts(5, 20))
    (preparation, _), experiment = prepared(some)
    test = translate.examples(some, preparation, experiment, "test")
    given = np.array([Translation(text) for text in random_texts(6, 20)], dtype=object)
    texts = [one.text for one in given]
    found = translate.score(given, test, preparation, experiment)
    assert found["bleu"] == sacrebleu.corpus_bleu(texts, [list(some.labels)]).score
    assert found["chrf"] == sacrebleu.corpus_chrf(texts, [list(some.labels)]).score


def test_the_measure_resamples_to_the_same_bleu_as_the_resampled_texts():
    some = pairs(random_texts(4, 20), random_texts(5, 20))
    (preparation, _), experiment = prepared(some)
    test = translate.examples(some, preparation, experiment, "test")
    given = np.array([Translation(text) for text in random_texts(6, 20)], dtype=object)
    (measure,) = translate.measures(test, preparation, experiment)
    drawn = np.random.default_rng(0).integers(0, 20, 20)
    direct = sacrebleu.corpus_bleu(
        [given[k].text for k in drawn], [[some.labels[k] for k in drawn]]
    )
    sums = measure.statistics(given)[drawn].sum(axis=0)
    assert measure.value(sums) == pytest.approx(direct.score)

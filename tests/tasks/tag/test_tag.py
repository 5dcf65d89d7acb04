"""Tags: inputs of the network, scores, and refusals."""

from collections import Counter

import numpy as np
import pytest
from seqeval.metrics import f1_score

from gatewise.data.sequences import Sequences
from gatewise.data.vocabulary import PAD, UNKNOWN
from gatewise.errors import DataError
from gatewise.readers.conll import TAG, TOKEN, from_sentences, tokens_of
from gatewise.settings import from_mapping
from gatewise.tasks.tag import crf, details
from gatewise.tasks.tag import task as tag

PLAIN = from_mapping(
    {"task": {"name": "tag"}, "preparation": {"max_length": 64, "vocabulary_size": 99}}
)
WORDS = ("The", "the", "Dog", "dogs", "bark", "at", "Extraordinarily-long-words", "trees", ".")
TAGS = ("O", "B-x", "I-x", "B-y")


def corpus(count=40, *, seed=0, words=WORDS, tags=TAGS, lengths=(1, 9)):
    random = np.random.default_rng(seed)
    sizes = random.integers(*lengths, size=count)
    return from_sentences(
        [random.choice(words, size=n).tolist() for n in sizes],
        [random.choice(tags, size=n).tolist() for n in sizes],
    )


def made(sequences, experiment=PLAIN, role="train", train=None):
    preparation, _ = tag.prepare(sequences if train is None else train, experiment)
    return preparation, tag.examples(sequences, preparation, experiment, role)


def most_probable(probabilities):
    return details.Tagged(probabilities, probabilities.argmax(axis=1))


def spelled(row, preparation):
    letters = preparation.own.characters
    return "".join(letters[place - tag.SYMBOLS] for place in row if place > UNKNOWN)


def test_words_and_characters_encode_the_sentence():
    sequences = corpus()
    preparation, some = made(sequences, role="validation")
    which = np.array([3, 0, 7, 5])
    given = some.inputs(which, 10)
    assert {name: one.dtype for name, one in given.items()} == dict.fromkeys(given, np.int32)
    for row, k in enumerate(which):
        told = tokens_of(sequences, TOKEN, k)
        words = given["words"][row]
        assert (words[len(told) :] == PAD).all()
        known = preparation.own.words
        assert [known[w - tag.SYMBOLS] for w in words[: len(told)]] == [t.lower() for t in told]
        letters = given["characters"][given["places"][row, : len(told)]]
        wanted = [t if len(t) <= 16 else t[:8] + t[-8:] for t in told]
        assert [spelled(one, preparation) for one in letters] == wanted


def test_new_words_are_unknown_but_their_known_characters_are_read():
    preparation, some = made(
        from_sentences([["DOG", "dogé"]], [["O", "O"]]), role="test", train=corpus()
    )
    given = some.inputs(np.array([0]), 2)
    assert given["words"][0].tolist() == [
        preparation.own.words.index("dog") + tag.SYMBOLS,
        UNKNOWN,
    ]
    letters = given["characters"][given["places"][0, 1]]
    assert spelled(letters, preparation) == "dog"
    assert letters[3] == UNKNOWN
    cased = PLAIN.having("preparation", lowercase=False)
    assert "Dog" in made(corpus(), cased)[0].own.words


def test_no_row_of_characters_is_all_padding():
    _, some = made(corpus())
    assert (some.inputs(np.array([0]), 9)["characters"][:, 0] != PAD).all()


def test_rare_words_are_left_out_and_the_most_frequent_kept():
    sequences = from_sentences([["a"] * 5 + ["b"] * 3 + ["c"]], [["O"] * 8 + ["B-x"]])
    rare, _ = made(sequences, PLAIN.having("preparation", min_frequency=2))
    assert rare.own.words == ("a", "b")
    few, _ = made(sequences, PLAIN.having("preparation", vocabulary_size=1))
    assert few.own.words == ("a",)


def test_a_word_is_dropped_the_more_often_the_rarer_it_is():
    chosen = PLAIN.having("network", word_dropout=2.0)
    sequences = from_sentences([["the"] * 5 + ["The"] * 3 + ["dog"] * 2], [["O"] * 9 + ["B-x"]])
    preparation, some = made(sequences, chosen)
    words = np.concatenate([some.inputs(np.array([0]), 10)["words"] for _ in range(3000)])
    unknown = (words == UNKNOWN).mean(axis=0)
    np.testing.assert_allclose(unknown[:8], 2 / (2 + 8), atol=0.03)
    np.testing.assert_allclose(unknown[8:], 2 / (2 + 2), atol=0.03)
    for role in ("validation", "test", "predict"):
        some = tag.examples(sequences, preparation, chosen, role)
        assert (some.inputs(np.array([0]), 10)["words"] != UNKNOWN).all()


def test_padding_has_no_tag_and_an_unknown_tag_has_its_own_index():
    train = corpus()
    late = from_sentences([["the", "dog"], ["trees"]], [["O", "B-z"], ["I-x"]])
    preparation, some = made(late, role="test", train=train)
    wanted = some.targets(np.array([1, 0]), 3)
    position = preparation.own.classes.index
    assert wanted.tolist() == [[position("I-x"), -1, -1], [position("O"), 4, -1]]


def test_unknown_tags_are_mistakes_with_a_note(caplog):
    late = from_sentences([["the", "dog"]], [["O", "B-z"]])
    caplog.set_level("INFO", "gatewise")
    preparation, some = made(late, role="test", train=corpus())
    assert "1 tokens of the test part have tags that training does not know ('B-z')" in caplog.text
    given = most_probable(np.eye(4)[[preparation.own.classes.index("O")] * 2])
    scores = tag.score(given, some, preparation, PLAIN)
    assert scores["accuracy"] == 0.5
    assert scores["span_f1"] == 0.0
    assert tag.measures(some, preparation, PLAIN)[1].statistics(given)[:, 0].tolist() == [1, 0]


def test_long_sentences_are_read_in_pieces_but_scored_and_returned_whole():
    sequences = corpus(12, lengths=(5, 30))
    chosen = PLAIN.having("preparation", max_length=7)
    preparation, some = made(sequences, chosen, role="test")
    assert some.lengths.max() == 7
    assert some.lengths.sum() == sequences.lengths.sum()
    _, whole = made(sequences, role="test")
    drawn = np.random.default_rng(0).dirichlet(np.ones(4), size=int(some.lengths.sum()))
    given = most_probable(drawn)
    scores = [tag.score(given, one, preparation, chosen) for one in (some, whole)]
    np.testing.assert_equal(*scores)
    tables = [tag.table(given, one, preparation, np.arange(len(one))) for one in (some, whole)]
    assert tables[0].equals(tables[1])


def test_the_table_has_a_row_for_each_token_of_the_chosen_sentences():
    sequences = corpus(6)
    preparation, some = made(sequences, role="test")
    given = np.random.default_rng(0).dirichlet(np.ones(4), size=int(sequences.lengths.sum()))
    table = tag.table(most_probable(given), some, preparation, np.array([4, 1]))
    assert table.columns == ["id", "position", "token", "tag", "probability", "truth"]
    assert table["token"].to_list() == [
        *tokens_of(sequences, TOKEN, 4),
        *tokens_of(sequences, TOKEN, 1),
    ]
    assert table["truth"].to_list() == [
        *tokens_of(sequences, TAG, 4),
        *tokens_of(sequences, TAG, 1),
    ]
    sizes = sequences.lengths[[4, 1]]
    assert table["id"].to_list() == ["4"] * sizes[0] + ["1"] * sizes[1]
    assert table["position"].to_list() == [*range(1, sizes[0] + 1), *range(1, sizes[1] + 1)]
    begin = sequences.starts[4]
    rows = given[begin : begin + sizes[0]]
    classes = np.array(preparation.own.classes)
    assert table["tag"].to_list()[: sizes[0]] == classes[rows.argmax(axis=1)].tolist()
    assert table["probability"].to_list()[: sizes[0]] == rows.max(axis=1).tolist()


def test_the_baseline_is_the_most_frequent_tag_of_each_spelling():
    train, test = corpus(30), corpus(20, seed=1, words=(*WORDS, "Cats", "DOGS"))
    preparation, learnt = made(train)
    state = tag.fit_baselines(learnt, None, preparation)
    some = tag.examples(test, preparation, PLAIN, "test")
    (baseline,) = tag.make_baselines(state, preparation, None)
    told = [preparation.own.classes[k] for k in baseline.predict(some).chosen]
    pairs = Counter(
        pair
        for k in range(len(train))
        for pair in zip(tokens_of(train, TOKEN, k), tokens_of(train, TAG, k), strict=True)
    )
    overall = Counter(one for (_, one), n in pairs.items() for _ in range(n))
    place = 0
    for k in range(len(test)):
        for word in tokens_of(test, TOKEN, k):
            known = {one: n for (other, one), n in pairs.items() if other == word}
            best = max((known or overall).values())
            assert (known or overall)[told[place]] == best
            place += 1
    assert place == len(told)


def test_the_resampled_measures_are_the_metrics():
    sequences = corpus(50)
    preparation, some = made(sequences, role="test")
    random = np.random.default_rng(0)
    given = random.dirichlet(np.ones(4), size=int(sequences.lengths.sum()))
    given += (
        2
        * np.eye(4)[details.actual_of(some, preparation)]
        * (random.random(len(given)) < 0.7)[:, None]
    )
    given = most_probable(given)
    scores = tag.score(given, some, preparation, PLAIN)
    for measure in tag.measures(some, preparation, PLAIN):
        statistics = measure.statistics(given)
        assert len(statistics) == len(measure.clusters)
        assert float(measure.value(statistics.sum(axis=0))) == pytest.approx(scores[measure.name])
    truth = [tokens_of(sequences, TAG, k) for k in range(len(sequences))]
    told = details.predicted_tags(given, some, preparation)
    assert scores["span_f1"] == pytest.approx(f1_score(truth, told))
    right = [one == other for one, other in zip(truth, told, strict=True)]
    assert scores["sentences"] == pytest.approx(np.mean(right))


def test_tags_that_mark_no_spans_have_no_span_f1():
    sequences = corpus(tags=("NOUN", "VERB", "X"))
    preparation, some = made(sequences, role="test")
    given = most_probable(np.full((int(sequences.lengths.sum()), 3), 1 / 3))
    assert "span_f1" not in tag.score(given, some, preparation, PLAIN)
    assert [one.name for one in tag.measures(some, preparation, PLAIN)] == ["accuracy"]
    assert "by_span" not in details.details({"LSTM": given}, some, preparation, PLAIN)


def test_sentences_of_one_document_are_a_cluster():
    sequences = Sequences(**{**vars(corpus(6)), "groups": np.array(list("aabbbc"), dtype=object)})
    preparation, some = made(sequences, role="test")
    spans_of, accuracy = tag.measures(some, preparation, PLAIN)
    assert spans_of.clusters.tolist() == [0, 0, 1, 1, 1, 2]
    assert accuracy.clusters.tolist() == np.repeat([0, 0, 1, 1, 1, 2], sequences.lengths).tolist()


def test_details_count_every_token_and_list_the_worst_sentences_first():
    sequences = corpus(30, seed=2, words=(*WORDS, "Cats"))
    preparation, some = made(sequences, role="test", train=corpus(20))
    actual = details.actual_of(some, preparation)
    given = np.full((len(actual), 4), 0.1) + 0.6 * np.eye(4)[actual]
    first = slice(sequences.starts[7], sequences.stops[7])
    given[first] = 0.01 + 0.96 * np.eye(4)[(actual[first] + 1) % 4]  # wrong and confident
    found = details.details({"LSTM": most_probable(given)}, some, preparation, PLAIN)
    assert np.sum(found["confusion"]) == len(actual)
    assert sum(one["support"] for one in found["by_class"].values()) == len(actual)
    seen, new = found["seen"]
    cats = sum(tokens_of(sequences, TOKEN, k).count("Cats") for k in range(30))
    assert (seen["tokens"], new["tokens"]) == (len(actual) - cats, cats)
    assert sum(one["sentences"] for one in found["lengths"]) == 30
    (worst,) = found["sentences"]
    assert worst["id"] == "7"
    assert worst["truth"] == tokens_of(sequences, TAG, 7)
    assert worst["answer"] != worst["truth"]


@pytest.mark.parametrize("true_temperature", [0.5, 2.0])
def test_the_temperature_calibrates_the_probabilities(true_temperature):
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(4000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = (probabilities.cumsum(axis=1) < random.random((4000, 1))).sum(axis=1)
    names = np.array(sorted(TAGS))[drawn].reshape(400, 10).tolist()
    preparation, some = made(from_sentences([["the"] * 10] * 400, names), role="validation")
    scores = crf.Scores((logits * true_temperature).astype(np.float32), None)
    found = tag.calibrate(preparation, scores, some)
    assert found.own.temperature == pytest.approx(true_temperature, rel=0.1)


@pytest.mark.parametrize("true_temperature", [0.5, 2.0])
def test_one_temperature_calibrates_the_logits_and_the_transitions_of_a_crf(true_temperature):
    random = np.random.default_rng(0)
    logits, transitions = random.normal(size=(1500, 2, 3)), 2 * random.normal(size=(5, 3))
    first = logits[:, 0] + transitions[3]
    second = logits[:, 1] + transitions[4]
    paths = np.exp(first[:, :, None] + transitions[:3] + second[:, None]).reshape(1500, 9)
    drawn = (paths.cumsum(axis=1) < random.random((1500, 1)) * paths.sum(axis=1)[:, None]).sum(1)
    names = np.array(["A", "B", "C"])[np.stack([drawn // 3, drawn % 3], axis=1)].tolist()
    preparation, some = made(from_sentences([["the", "dog"]] * 1500, names), role="validation")
    scores = crf.Scores((logits * true_temperature).reshape(-1, 3), transitions * true_temperature)
    found = tag.calibrate(preparation, scores, some)
    assert found.own.temperature == pytest.approx(true_temperature, rel=0.1)


def test_settings_are_guessed_with_a_note():
    sequences = corpus(400, lengths=(5, 10))
    found, notes = tag.resolve(from_mapping({"task": {"name": "tag"}}), sequences, sequences)
    assert found.preparation.max_length == tag.MIN_MAX_LENGTH
    assert found.network.bidirectional
    assert found.training.batch_size == 8
    assert found.training.epochs == 60
    assert found.training.patience == 20, "rare tags are first found after many epochs"
    fast = PLAIN.having("training", quality="fast")
    assert tag.resolve(fast, sequences, sequences)[0].training.patience == -1
    assert notes == []
    grouped = Sequences(**{**vars(sequences), "groups": np.arange(400).astype(str)})
    assert "400 documents stay in one part" in tag.resolve(PLAIN, grouped, grouped)[1][0]
    short = PLAIN.having("preparation", max_length=6)
    assert "have more than 6 tokens" in tag.resolve(short, sequences, sequences)[1][0]


def test_a_single_tag_is_refused():
    with pytest.raises(DataError, match="every token of the training part has the tag 'O'"):
        tag.prepare(corpus(tags=("O",)), PLAIN)


def test_other_kinds_of_data_are_refused():
    from gatewise.data.sequences import from_texts

    with pytest.raises(DataError, match="holds text; tag reads tokens"):
        tag.examples(from_texts(["a b"]), made(corpus())[0], PLAIN, "predict")

"""Running text as tokens: nothing lost, every line told apart, what is unknown said."""

import pytest

from gatewise.data import streams
from gatewise.data.sequences import from_texts
from gatewise.data.vocabulary import END, SPECIAL, UNKNOWN, fit_vocabulary

TEXT = "A rose, she said,\n\nis a rose.\nça va"


def stream(text, kind, learnt="", **options):
    vocabulary = fit_vocabulary(streams.lines_of(learnt or text), kind, **options)
    given = [text] if isinstance(text, str) else text
    return streams.stream_of(from_texts(given), vocabulary), vocabulary


def test_lines_put_together_are_the_text():
    long = "x" * 9000 + " " + "word " * 3000
    for text in (TEXT, "\n\n", "", long, long + "\n" + TEXT):
        lines = streams.lines_of(text)
        assert "".join(lines) == text
        assert max(map(len, lines), default=0) <= streams.LONGEST


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_characters_and_pieces_hold_the_whole_text(kind):
    found, vocabulary = stream(TEXT, kind)
    assert "".join(streams.written(found.tokens, vocabulary)) == TEXT
    assert found.characters.sum() == len(TEXT)


def test_a_line_of_words_ends_with_a_token():
    found, vocabulary = stream("a rose\n\nis a\n", "whitespace")
    said = [vocabulary.tokens[one] for one in found.tokens]
    assert said == ["a", "rose", SPECIAL[END], SPECIAL[END], "is", "a", SPECIAL[END]]
    assert found.lines.tolist() == [0, 3, 4, 7]
    assert found.characters.tolist() == [7, 1, 5]
    assert found.start == END


def test_the_last_line_of_words_ends_too():
    assert stream("a rose", "whitespace")[0].tokens[-1] == END


def test_each_token_is_read_behind_the_one_before_it_and_a_text_behind_a_line_end():
    found, _ = stream(["ab\n", "c\n"], "characters", learnt="abc\n")
    first = found.tokens.tolist()
    assert found.before().tolist() == [found.start, *first[:2], found.start, first[3]]
    assert found.start == first[2]  # the line feed


def test_what_is_not_known_is_counted_and_read_as_the_texts_own_mark():
    found, vocabulary = stream("a daisy\n", "whitespace", learnt="a <unk> rose\n")
    assert found.unknown == 1
    assert vocabulary.tokens[found.tokens[1]] == "<unk>"
    found, _ = stream("a daisy\n", "whitespace", learnt="a rose\n")
    assert found.tokens[1] == UNKNOWN


def test_a_prompt_is_read_behind_a_line_end_and_says_what_is_strange():
    _, characters = stream("abc\n", "characters")
    tokens, strange = streams.prompted("aœb", characters)
    assert strange == ["œ"]
    assert characters.decode(tokens) == "\nab"
    _, words = stream("a rose\n", "whitespace")
    tokens, strange = streams.prompted("a daisy", words)
    assert strange == ["daisy"]
    assert tokens[0] == END
    assert tokens[-1] == UNKNOWN


def test_words_are_written_as_one_writes():
    _, vocabulary = stream("She said: (no), don't!\nShe\n", "words", min_frequency=1)
    tokens = vocabulary.encode(["She said: (no), don't!"])[0].tolist()
    written = "".join(streams.written([*tokens, END, tokens[0]], vocabulary))
    assert written == "She said: (no), don't!\nShe"
    begun = "".join(streams.written(tokens[:2], vocabulary, begun=True))
    assert begun == " She said"


def test_a_character_of_several_pieces_is_written_when_it_is_whole():
    vocabulary = fit_vocabulary(["abc"], "bpe")
    tokens = vocabulary.encode(["a日b"])[0]
    assert len(tokens) == 5
    assert list(streams.written(tokens, vocabulary)) == ["a", "日", "b"]

"""Running text as tokens: nothing is lost, lines are separate, unknown tokens are noted."""

import pytest

from gatewise.data import tokenstream
from gatewise.data.sequences import from_texts
from gatewise.data.vocabulary import END, SPECIAL, UNKNOWN, fit_vocabulary

TEXT = "A rose, she said,\n\nis a rose.\nça va"


def stream(text, kind, learnt="", **options):
    vocabulary = fit_vocabulary(tokenstream.lines_of(learnt or text), kind, **options)
    given = [text] if isinstance(text, str) else text
    return tokenstream.stream_of(from_texts(given), vocabulary), vocabulary


def test_lines_put_together_are_the_text():
    long = "x" * 9000 + " " + "word " * 3000
    for text in (TEXT, "\n\n", "", long, long + "\n" + TEXT):
        lines = tokenstream.lines_of(text)
        assert "".join(lines) == text
        assert max(map(len, lines), default=0) <= tokenstream.MAX_LINE


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_characters_and_subwords_hold_the_whole_text(kind):
    found, vocabulary = stream(TEXT, kind)
    assert "".join(tokenstream.decode_pieces(found.tokens, vocabulary)) == TEXT
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


def test_each_token_follows_its_predecessor_and_a_text_follows_a_line_end():
    found, _ = stream(["ab\n", "c\n"], "characters", learnt="abc\n")
    first = found.tokens.tolist()
    assert found.before().tolist() == [found.start, *first[:2], found.start, first[3]]
    assert found.start == first[2]  # the line feed


def test_unknown_tokens_are_counted_and_read_as_the_mark_of_the_text():
    found, vocabulary = stream("a daisy\n", "whitespace", learnt="a <unk> rose\n")
    assert found.unknown == 1
    assert vocabulary.tokens[found.tokens[1]] == "<unk>"
    found, _ = stream("a daisy\n", "whitespace", learnt="a rose\n")
    assert found.tokens[1] == UNKNOWN


def test_a_prompt_follows_a_line_end_and_unknown_tokens_are_reported():
    _, characters = stream("abc\n", "characters")
    tokens, strange = tokenstream.encode_prompt("aœb", characters)
    assert strange == ["œ"]
    assert characters.decode(tokens) == "\nab"
    _, words = stream("a rose\n", "whitespace")
    tokens, strange = tokenstream.encode_prompt("a daisy", words)
    assert strange == ["daisy"]
    assert tokens[0] == END
    assert tokens[-1] == UNKNOWN


def test_words_are_joined_with_usual_spacing():
    _, vocabulary = stream("She said: (no), don't!\nShe\n", "words", min_frequency=1)
    tokens = vocabulary.encode(["She said: (no), don't!"])[0].tolist()
    written = "".join(tokenstream.decode_pieces([*tokens, END, tokens[0]], vocabulary))
    assert written == "She said: (no), don't!\nShe"
    begun = "".join(tokenstream.decode_pieces(tokens[:2], vocabulary, begun=True))
    assert begun == " She said"


def test_a_character_of_several_subwords_is_written_when_it_is_complete():
    vocabulary = fit_vocabulary(["abc"], "bpe")
    tokens = vocabulary.encode(["a日b"])[0]
    assert len(tokens) == 5
    assert list(tokenstream.decode_pieces(tokens, vocabulary)) == ["a", "日", "b"]

"""How tasks that read whole texts answer a text while it arrives."""

from typing import Any

from gatewise.data.preparation import Preparation
from gatewise.data.vocabulary import Vocabulary
from gatewise.streaming.plan import Plan, Text

LONGEST = 10_000  # tokens that are read of a text of which all should be


def of_texts(
    preparation: Preparation[Any],
    vocabulary: Vocabulary,
    *,
    most: int,
    truncation: str,
    reads_all: str = "",
) -> Plan:
    """The tokens of a text so far, of which the network reads at most `most`.

    A text is short enough to be answered anew, if states cannot be carried on. `reads_all` is the
    reason why the answer depends on all words, however many the network reads; "": it does not.
    """
    last = truncation == "start"
    reason = "a longer text is truncated at its start" if last else ""
    slides = last and not reads_all
    return Plan(
        preparation=preparation,
        columns=("text",),
        whole=reads_all or reason,
        bound=most if slides else LONGEST,
        text=Text(
            encode=vocabulary.written,
            characters=vocabulary.kind == "characters",
            most=LONGEST if reads_all else 0 if slides else most,
        ),
    )

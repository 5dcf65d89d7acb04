"""How `transcribe` answers a stream: words that are certain, and those that may still change."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.runtime.operations import log_softmax
from gatewise.settings import Experiment
from gatewise.streaming.plan import Answer, Notes, Plan, Row
from gatewise.tasks.transcribe.decoding import BLANK, Beam, Beams, Bonus, extended, likeliest
from gatewise.tasks.transcribe.fitted import Fitted
from gatewise.tasks.transcribe.task import bonus_of


def plan(
    preparation: Preparation[Fitted], _experiment: Experiment, _state: Mapping[str, Any]
) -> Plan:
    """All frames so far, by the states of the network and of the search."""
    own = preparation.own
    hop = own.spectrum.hop_length / own.spectrum.rate
    for stride in own.strides:
        hop *= stride
    return Plan(
        preparation=preparation,
        columns=preparation.used,
        sayings=Words(own, bonus_of(own), hop),
        windows=False,
        cure="Train with task.streaming = true, which reads forwards only.",
    )


@dataclass(frozen=True)
class Words:
    """Transcribes step by step: by the search of whole recordings, whose hypotheses are kept.

    What all hypotheses begin with cannot change any more, so its whole words are certain.
    """

    own: Fitted
    bonus: Bonus | None
    hop: float  # seconds of a step
    changing: tuple[str, ...] = ("words", "partial")

    def begin(self) -> Notes:
        """No word, and one hypothesis without symbols."""
        beams: Beams = {(): Beam()} if self.own.beam_size > 1 else {}
        return {"step": 0, "said": "", "symbol": BLANK, "text": "", "beams": _plain(beams)}

    def answers(
        self, notes: Notes, _before: Array, after: Array, rows: Sequence[Row]
    ) -> list[Answer]:
        """The time, the certain words and the rest of the transcript so far, after each step."""
        found = []
        beams = _beams(notes)
        for frame in log_softmax(after):
            notes["step"] += 1
            if self.own.beam_size > 1:
                beams = extended(beams, frame, self.own.beam_size, self.bonus)
                beams = self._cut(beams, notes)
                text = notes["said"] + self._letters(_best(beams))
                certain = notes["said"] + self._letters(_common(beams))
            else:
                symbol = int(frame.argmax())
                if symbol not in (BLANK, notes["symbol"]):
                    notes["text"] += self._letters((symbol,))
                notes["symbol"] = symbol
                text = certain = notes["text"]
            words = certain[: certain.rfind(" ") + 1]
            found.append(self._answer(notes, words, text[len(words) :]))
        notes["beams"] = _plain(beams)
        return found

    def last(self, notes: Notes) -> Answer:
        """The whole transcript."""
        if self.own.beam_size == 1:
            return self._answer(notes, notes["text"], "")
        best = likeliest(_beams(notes), self.bonus)
        return self._answer(notes, notes["said"] + self._letters(best), "")

    def _answer(self, notes: Notes, words: str, partial: str) -> Answer:
        return {
            "seconds": round(notes["step"] * self.hop, 3),
            "words": " ".join(words.split()),
            "partial": " ".join(partial.split()),
        }

    def _letters(self, symbols: Sequence[int]) -> str:
        return "".join(self.own.classes[one - 1] for one in symbols)

    def _cut(self, beams: Beams, notes: Notes) -> Beams:
        """Hypotheses without the symbols that they share and that no score reads any more."""
        kept = max(1, self.own.lm.order if self.own.lm else 0)
        shared = len(_common(beams)) - kept
        if shared < 1:
            return beams
        notes["said"] += self._letters(next(iter(beams))[:shared])
        return {prefix[shared:]: beam for prefix, beam in beams.items()}


def _best(beams: Beams) -> tuple[int, ...]:
    """The prefix with the highest score so far."""
    return max(beams, key=lambda prefix: beams[prefix].score)


def _common(beams: Beams) -> tuple[int, ...]:
    """What all prefixes begin with."""
    return tuple(os.path.commonprefix(list(beams)))


def _plain(beams: Beams) -> list[Any]:
    """Beams for JSON."""
    return [[list(prefix), *beam] for prefix, beam in beams.items()]


def _beams(notes: Notes) -> Beams:
    return {tuple(prefix): Beam(*numbers) for prefix, *numbers in notes["beams"]}

"""Stream: the answers of a run to a sequence that is still going on."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise import prediction
from gatewise.data.sequences import Array
from gatewise.errors import ConfigError, DataError
from gatewise.prediction import Run
from gatewise.runs.artefact import open_run
from gatewise.settings import DataSettings
from gatewise.streaming.answering import carried, final, incomplete, windows
from gatewise.streaming.memory import Memory, id_of
from gatewise.streaming.model import Model, open_model
from gatewise.streaming.place import Place, packed, unpacked
from gatewise.streaming.plan import Answer, Row
from gatewise.tasks import TASKS

log = logging.getLogger("gatewise")

ROWS = 65_536  # of all streams, whose outputs are held together
WIDE = 1024  # the same where an output is as wide as a vocabulary


class Stream:
    """The answers of a run to a sequence while it arrives.

    Values are those of the data, as in a file for `gatewise.predict`: the stream scales them and
    looks up texts and calendar as the run does. An answer after n steps is the answer that
    `gatewise.predict` gives to these steps. If the network allows, the states of its LSTM layers
    are carried on, so a step costs the same however long the stream is. A network that reads
    backwards, or pools in a way that needs all steps, answers the last `window` steps anew.

    Args:
        run: a run folder, or what gatewise.train or gatewise.load returned.
        window: the steps that an answer reads; default: what the run was trained on. 0: all steps.
        every: the steps between two answers; default: 1, or the stride of the run's windows.
        id: the name of the sequence, if the run scales each one by its own steps.
        weights: float32, or int8: weights of LSTM layers are rounded to 255 levels, which changes
            the answers a little and makes steps of wide layers faster. States must be carried on.

    Raises:
        ConfigError: the run cannot be streamed in this way; the message names the way out.
    """

    def __init__(
        self,
        run: Run,
        *,
        window: int | None = None,
        every: int | None = None,
        id: str = "",
        weights: str = "float32",
    ) -> None:
        artefact = prediction.artefact_of(run, open_run)
        self._begin(open_model(artefact, window, every, weights), id)

    def _begin(self, model: Model, name: str) -> None:
        self._model, self._id = model, name
        self._place = Place(memory=Memory(id=name))
        self._next: list[Row] = []  # steps that were pushed and not read yet
        self._memory: Memory | None = None  # after them; None: nothing was pushed
        self._answers: list[Answer] = []
        self._error: DataError | None = None  # of the last `advance`, for `read`

    def __repr__(self) -> str:
        """One line, because notebooks display it."""
        name = f" '{self._id}'" if self._id else ""
        return f"<Stream{name} of {self._model.artefact.preparation.task}: {self.step} steps>"

    @property
    def step(self) -> int:
        """The number of steps that were pushed since the beginning."""
        return self._place.step + sum(not row.ahead for row in self._next)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row, in their order."""
        return self._model.reader.columns

    @property
    def times(self) -> tuple[str, ...]:
        """The columns of the time of a row, if the run reads it."""
        return self.data.time if self._model.plan.needs_times else ()

    @property
    def kind(self) -> str:
        """What the steps are: numbers, text, tokens or sound."""
        return self._model.artefact.preparation.kind

    @property
    def data(self) -> DataSettings:
        """How the data of the run are read."""
        return self._model.artefact.experiment.data

    @property
    def reads_lines(self) -> bool:
        """Whether lines without columns are its data: of a running text, or of tokens."""
        text = self._model.plan.text
        return self.kind == "tokens" or (text is not None and text.lines)

    @property
    def rate(self) -> int:
        """The samples of a recording in a second; 0 if the run reads something else."""
        spectrum = getattr(self._model.artefact.preparation.own, "spectrum", None)
        return 0 if spectrum is None else int(spectrum.rate)

    @property
    def window(self) -> int:
        """The steps that an answer reads; 0: all of them."""
        return self._model.plan.window

    def new(self, id: str = "") -> "Stream":
        """Another stream of the same run, from its beginning; both share the weights."""
        other = object.__new__(Stream)
        other._begin(self._model, id)
        return other

    def id_of(self, row: Any) -> str:
        """The id of the sequence of a row, in the columns that name sequences; "": it has none."""
        return id_of(row, self.data)

    def push(self, steps: Any) -> None:
        """Add steps, which wait until they are read.

        What a step is depends on the data of the run:

        - numbers: a row, a list of rows, an array [columns] or [steps, columns], or a table. A row
          is a dict with the columns of the file that the run was trained on, or the numbers of
          `columns`. A row without a target is a step ahead, with what is known of it.
        - texts: a text in parts of any size, each a str or a dict with it. Steps are tokens; a word
          is a step when white space follows.
        - tokens: a str of tokens with white space between them, a list of tokens, or dicts.
        - recordings: samples [samples], integers of 16 bits, floats from -1 to 1, or raw bytes, at
          the rate of the run.

        Raises:
            DataError: a row has not what the run needs. None of these steps is added then.
        """
        memory, added = self._last_memory(), list[Row]()
        for given in self._model.reader.rows_of(steps):
            added += self._model.reader.read(given, memory)
        self._next += added
        self._memory = memory

    def _last_memory(self) -> Memory:
        """A copy of the memory after all that was pushed."""
        memory = self._place.memory if self._memory is None else self._memory
        return replace(memory, static=dict(memory.static))

    def read(self) -> list[Answer]:
        """The answers that no call returned yet, oldest first.

        Each is a dict of `step`, the number of steps that were read, and of the columns that
        `gatewise.predict` gives.

        Raises:
            DataError: a value is too far from those of training. The steps that were pushed since
                the last call are forgotten.
        """
        self._advance()
        answers, self._answers = self._answers, []
        return answers

    def finish(self) -> list[Answer]:
        """The last answers: `read`, and the answer to the last step if it has none yet.

        The stream is then at its beginning again.
        """
        memory = self._last_memory()
        self._next += self._model.reader.rest(memory)
        self._memory = memory
        self._advance()
        model, place = self._model, self._place
        if model.plan.sayings is not None:
            last = model.plan.sayings.last(place.notes) if place.step else {}
            if last:
                self._answers.append({"step": place.step, **last})
        elif 0 < place.step != place.answered:
            if not model.plan.full or place.step >= model.plan.window:
                self._answers += final(model, place)
            if not place.answered and not self._answers:
                needed = max(model.plan.window, 1)
                ahead = f" and {model.plan.ahead} rows ahead" if model.plan.ahead else ""
                log.warning(
                    "The stream ended after %s, but an answer needs %d%s.",
                    *("1 step" if place.step == 1 else f"{place.step} steps", needed, ahead),
                )
        answers = self._answers
        self._begin(model, self._id)
        return answers

    def state(self) -> bytes:
        """Where the stream is, to continue it in another process with `restore`.

        Answers that were not read yet are not part of it.
        """
        self._advance()
        return packed(self._model, self._place)

    def _advance(self) -> None:
        advance([self])
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def restore(self, state: bytes) -> None:
        """Continue where the stream was whose `state` this is; what was pushed here is forgotten.

        Raises:
            ConfigError: it is not a state of a stream of this run, with the same window.
        """
        place = unpacked(self._model, state)
        self._begin(self._model, place.memory.id or self._id)
        self._place = place

    def distribution(self) -> dict[str, float]:
        """The probability of each symbol that may come next, the likeliest first.

        Raises:
            ConfigError: the run is not a language model.
        """
        speaking = self._speaking()
        place, _ = self._ahead()
        found: dict[str, float] = speaking.distribution(place.notes, place.output)
        return found

    def generate(
        self,
        length: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
    ) -> str:
        """A text that may come next, as `gatewise.generate` writes it; the stream stays here.

        Args:
            length: the number of tokens.
            temperature: below 1, likely tokens become likelier; 0 always takes the likeliest one.
            top_k: sample from that many most likely tokens; 0: from all.
            seed: the same seed writes the same text; None: another text each time.

        Raises:
            ConfigError: the run is not a language model, or a number is out of range.
        """
        speaking = self._speaking()
        prediction.check_sampling(length=length, temperature=temperature, top_k=top_k, seed=seed)
        place, last = self._ahead()
        assert place.states is not None and self._model.stepper is not None
        states, stepper = dict(place.states), self._model.stepper

        def step(token: int) -> Array:
            logits: Array = stepper(np.array([token]), states)[0]
            return logits

        pieces = speaking.continued(
            place.notes,
            place.output,
            step,
            length=length,
            temperature=temperature,
            top_k=top_k,
            seed=seed,
            begun=bool(last) and not last.isspace(),
        )
        return "".join(pieces)

    def _speaking(self) -> Any:
        """What tells the next symbols."""
        sayings = self._model.plan.sayings
        if not hasattr(sayings, "distribution"):
            writing = [name for name, one in TASKS.items() if hasattr(one.outputs, "generate")]
            raise ConfigError(
                f"What comes next needs a run of the task {' or '.join(writing)}; this one is of "
                f"{self._model.artefact.preparation.task}."
            )
        return sayings

    def _ahead(self) -> tuple[Place, str]:
        """The place after all that was pushed, whole words or not, and the last character."""
        self._advance()
        memory = self._last_memory()
        last = memory.rest[-1:] or memory.last
        rows, place = incomplete(self._model, memory), self._place.copied()
        carried(self._model, [place], [rows])
        return place, last


def advance(streams: Sequence[Stream]) -> None:
    """Compute the answers of several streams to all that was pushed; `read` returns them.

    Streams of the same run (`Stream.new`) share the batches of the network. If the steps of one
    cannot be answered, its `read` raises the error, and the others are answered.
    """
    by_model: dict[int, list[Stream]] = {}
    for stream in dict.fromkeys(streams):
        if stream._next:
            by_model.setdefault(id(stream._model), []).append(stream)
        elif stream._memory is not None:  # what was pushed completes no step
            stream._place = replace(stream._place, memory=stream._memory)
            stream._memory = None
    for several in by_model.values():
        try:
            _advance_together(several)
        except DataError as error:
            if len(several) == 1:
                several[0]._next, several[0]._memory, several[0]._error = [], None, error
            else:
                for one in several:
                    advance([one])


def _advance_together(streams: Sequence[Stream]) -> None:
    """The same for streams of one run; nothing changes if one raises an error."""
    model = streams[0]._model
    places = [one._place.copied() for one in streams]
    for place, one in zip(places, streams, strict=True):
        assert one._memory is not None
        place.memory = one._memory
    run = windows if model.stepper is None else carried
    answers: list[list[Answer]] = [[] for _ in streams]
    size = max(1, (ROWS if model.plan.sayings is None else WIDE) // len(streams))
    for begin in range(0, max(len(one._next) for one in streams), size):
        parts = [one._next[begin : begin + size] for one in streams]
        some = [k for k, part in enumerate(parts) if part]
        found = run(model, [places[k] for k in some], [parts[k] for k in some])
        for k, more in zip(some, found, strict=True):
            answers[k] += more
    for one, place, of_stream in zip(streams, places, answers, strict=True):
        one._place, one._next, one._memory = place, [], None
        one._answers += of_stream

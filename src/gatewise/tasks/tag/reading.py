"""Read and recognise the data of `tag`: tokens with their tags."""

import sys
from collections.abc import Mapping
from contextlib import suppress

from gatewise.errors import ConfigError, DataError, GatewiseError
from gatewise.readers import conll, spans, texts
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import Opened, nothing
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign


def read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    """Read a file, lists of tokens or, to predict, lines from standard input."""
    sequences, settings, notes = _read(source, settings, purpose)
    if purpose == "train" and conll.TAG not in sequences.levels:
        raise DataError(
            f"{sequences.source}: no tags were found beside the tokens. Give CoNLL columns, "
            "of which the last one is the tag, or name the column of tags: --target."
        )
    return sequences, settings, notes


def _read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    if source.given is None:
        raise nothing()
    if source.is_standard_input:
        if purpose != "predict":
            raise ConfigError("Only gatewise predict reads standard input (-). Name a file.")
        content = sys.stdin.buffer.read()
        lines = texts.decoded(content, "standard input", settings.encoding).split("\n")
        return conll.read(lines, settings, purpose=purpose)
    if source.named and source.file.name.endswith(conll.TABLES):
        return conll.from_table(source.table(), settings, purpose=purpose)
    data = source.given if source.named is None else source.file.path
    return conll.read(data, settings, purpose=purpose)


def are_tokens(source: Opened, settings: DataSettings) -> str | None:
    """The name or the lines of a file show tokens with tags, or lists in memory hold them."""
    match source.given:
        case ([[str(), *_], *_], [[str(), *_], *_]):
            return "lists of tokens with a list of tags for each"
    name = source.named
    if name is None or source.recordings is not None:
        return None
    plain = name.name.lower().removesuffix(".gz").endswith((".txt", ".tsv"))
    if conll.holds_tokens(name) or (plain and _holds_tags(source)):
        return f"{name.name} holds tokens with tags"
    with suppress(GatewiseError):  # it is raised again where the data are read
        return are_lists(source, settings) if _names_tags(source, settings) else None
    return None


def _names_tags(source: Opened, settings: DataSettings) -> bool:
    """Whether the settings name a column of tags, which would be taken as labels of sequences."""
    content = source.content(one_series=True) if settings.label else None
    if not isinstance(content, Table):
        return False
    listed = content.kinds(settings.missing_values).get(settings.label) == "list"
    return listed or settings.label.lower() in conll.TAGS or bool(spans.beside(content, settings))


def _holds_tags(source: Opened) -> bool:
    holds = (conll.holds_spans, conll.holds_joined, conll.holds_named)
    return any(one(source.file) for one in holds)


def are_lists(source: Opened, settings: DataSettings) -> str | None:
    """A table with a list of tokens and a list of tags in each row, or with spans of a text."""
    content = source.content(one_series=True)
    if not isinstance(content, Table):
        return None
    if conll.holds_lists(content, settings):
        return f"{content.name} holds lists of tokens and of tags"
    if conll.holds_rows(content, settings):
        return f"{content.name} holds a token and its tag in each row"
    if found := spans.beside(content, settings):
        return "the column {1!r} holds a tag for each word of {0!r}".format(*found)
    if found := spans.columns(content, settings):
        return "the column {1!r} holds spans of the texts in {0!r}".format(*found)
    return None


RECOGNISE: Mapping[Sign, Recognise] = {"form": are_tokens, "columns": are_lists}

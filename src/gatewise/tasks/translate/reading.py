"""Read pairs of texts, and recognise them."""

from collections.abc import Mapping

from gatewise.readers import columns, pairs, recordings, texts
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import Opened, placed
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign


def read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    """Read two parallel files, two columns of a table, or two lists; for prediction, one."""
    if source.texts is None:
        return pairs.read(source, settings, purpose=purpose)
    sources, translations = source.texts
    if translations is None:
        return texts.of_lists(sources, None, settings, task="translate", purpose=purpose)
    return pairs.of_lists(sources, translations, settings)


def are_pairs(source: Opened, settings: DataSettings) -> str | None:
    """The reason why the source holds pairs, or None.

    Pairs are a table of two columns of text, neither of which holds labels or paths of recordings.
    Ids and numbers of the rows may stand beside them.
    """
    content = source.content(one_series=True)
    if not isinstance(content, Table) or len(columns.answering(content, settings)) != 2:
        return None
    if recordings.column_of(content, settings) or columns.label_of(content, settings):
        return None
    names = texts.written(content, settings)
    return "the columns {!r} and {!r} hold texts".format(*names) if len(names) == 2 else None


def are_parallel(source: Opened, settings: DataSettings) -> str | None:
    """The reason why two files or lists are translations of each other, or None.

    The names of the files end in two codes of languages (train.en, train.de), and they have as many
    lines. Most items of the second list are texts of several words.
    """
    others = None if source.texts is None else source.texts[1]
    if others is not None and pairs.are_sentences(others):
        return "a list of texts with a text for each"
    if source.named is None or source.is_standard_input:
        return None
    path = placed(source.named)
    if not path.is_file() or not pairs.ends_in_locale(path):
        return None
    other = pairs.parallel(path, settings.label)
    return f"{path.name} and {other.name} hold as many lines" if other else None


def are_of_tatoeba(source: Opened, settings: DataSettings) -> str | None:
    """The reason why a file holds pairs with an attribution, or None."""
    return f"{source.named} holds pairs of Tatoeba" if pairs.of_tatoeba(source, settings) else None


RECOGNISE: Mapping[Sign, Recognise] = {
    "settings": are_of_tatoeba,
    "form": are_parallel,
    "columns": are_pairs,
}

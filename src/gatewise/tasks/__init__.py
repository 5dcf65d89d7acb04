"""What is asked: one folder a task, and one entry here."""

from gatewise.tasks.classify.task import TASK as CLASSIFY
from gatewise.tasks.forecast.task import TASK as FORECAST
from gatewise.tasks.language.task import TASK as LANGUAGE
from gatewise.tasks.tag.task import TASK as TAG
from gatewise.tasks.task import AnyTask
from gatewise.tasks.transcribe.task import TASK as TRANSCRIBE
from gatewise.tasks.translate.task import TASK as TRANSLATE

TASKS: dict[str, AnyTask] = {
    task.name: task for task in (FORECAST, CLASSIFY, TAG, LANGUAGE, TRANSLATE, TRANSCRIBE)
}

"""What is asked. A new task is one file with one `Task`, and one entry here."""

from gatewise.tasks import classify, forecast, language, tag, transcribe, translate
from gatewise.tasks.task import Task

TASKS: dict[str, Task] = {
    "forecast": forecast.TASK,
    "classify": classify.TASK,
    "tag": tag.TASK,
    "language": language.TASK,
    "translate": translate.TASK,
    "transcribe": transcribe.TASK,
}

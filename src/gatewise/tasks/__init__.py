"""What is asked. A new task is one file with one `Task`, and one entry here."""

from gatewise.tasks import classify, forecast
from gatewise.tasks.task import Task

TASKS: dict[str, Task] = {"forecast": forecast.TASK, "classify": classify.TASK}

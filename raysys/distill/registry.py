"""The methods by name."""

from raysys.distill.ideal import Ideal
from raysys.distill.method import Method, Requests
from raysys.distill.options import IdealOptions, parse_options
from raysys.records import Task, TrialConfig


def build_method(config: TrialConfig, task: Task, requests: Requests, device: str) -> Method:
    """The method of a config, ready to run. Raises UsageError for options that do not fit the task."""
    options = parse_options(config.method, dict(config.options))
    options.check_task(task)
    assert isinstance(options, IdealOptions)
    return Ideal(config, options, task, requests, device)

"""From a trial's config to its method."""

from pkgutil import resolve_name

from raysys.distill.method import Method, Setting
from raysys.distill.options import check_response, parse_options
from raysys.errors import UsageError


def build_method(setting: Setting) -> Method:
    """The method of a config, ready to run.

    Raises UsageError for options, a response or images that do not fit, and for a method that cannot be
    loaded.
    """
    config = setting.config
    options = parse_options(config.method, dict(config.options))
    options.check_task(setting.task)
    check_response(config.method, config.response)
    if options.needs_images != (setting.images is not None):
        verb = "needs" if options.needs_images else "must not see"
        raise UsageError(f"method {config.method} {verb} real images")
    try:
        implementation = resolve_name(options.implementation)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"method {config.method} cannot be loaded", str(error)) from error
    method: Method = implementation(setting, options)
    return method

"""Whether to trust this trial, and how to repeat it."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Trial", "Whether to trust this trial, and how to repeat it.")


main()

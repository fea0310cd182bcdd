"""Which method or search wins, honestly."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Compare", "Which method or search wins, honestly.")


main()

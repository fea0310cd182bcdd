"""Take the data, the students and the methods text with you."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Export", "Take the data, the students and the methods text with you.")


main()

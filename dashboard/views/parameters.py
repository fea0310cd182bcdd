"""Which ranges to narrow or to extend."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Parameters", "Which ranges to narrow or to extend.")


main()

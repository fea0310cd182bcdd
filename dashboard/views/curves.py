"""Whether trials overfit, and when they could have ended."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Curves", "Whether trials overfit, and when they could have ended.")


main()

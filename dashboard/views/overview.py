"""Is it healthy? Go on, stop, extend or fix."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Overview", "Is it healthy? Go on, stop, extend or fix.")


main()

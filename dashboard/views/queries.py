"""Where the budget went, and what of it was wasted."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Queries", "Where the budget went, and what of it was wasted.")


main()

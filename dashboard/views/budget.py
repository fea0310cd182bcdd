"""How many teacher queries to buy."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Budget", "How many teacher queries to buy.")


main()

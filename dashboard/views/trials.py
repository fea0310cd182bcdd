"""Find, pin and compare trials."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Trials", "Find, pin and compare trials.")


main()

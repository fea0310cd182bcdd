"""Stop now or go on; whether early stopping is too hard."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Convergence", "Stop now or go on; whether early stopping is too hard.")


main()

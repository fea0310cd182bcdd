"""Whether the generator collapsed, and what it shows the teacher."""

from dashboard import frame


def main() -> None:
    """Draw the page."""
    frame.head("Images", "Whether the generator collapsed, and what it shows the teacher.")


main()

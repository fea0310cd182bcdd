"""`python -m raysys.tune` is `raysys tune`."""

import sys

from raysys.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))

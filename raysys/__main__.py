"""`python -m raysys` is `raysys`."""

import sys

from raysys.cli.app import main

sys.exit(main())

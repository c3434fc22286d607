"""``python -m epc.cli`` is ``epclab``."""

import sys

from epc.cli.main import main

sys.exit(main())

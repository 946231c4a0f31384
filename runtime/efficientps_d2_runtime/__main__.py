"""``python -m efficientps_d2_runtime`` is ``efficientps-d2-run``."""

import sys

from efficientps_d2_runtime.run import main

sys.exit(main())

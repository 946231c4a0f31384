import sys

from efficientps_d2.web.command import main

if __name__ == "__main__":
    sys.exit(main())

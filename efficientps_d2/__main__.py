import sys

from efficientps_d2_cli.main import main

if __name__ == "__main__":
    sys.exit(main())

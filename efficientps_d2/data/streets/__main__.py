import sys

from efficientps_d2.data.streets.dataset import main

if __name__ == "__main__":
    sys.exit(main())

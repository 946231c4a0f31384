import sys

from efficientps_d2_cli.main import main_of

if __name__ == "__main__":
    sys.exit(main_of("streets", prog="python -m efficientps_d2.data.streets"))

"""`python -m conv_transpose_nd`: the same as the console script `conv-transpose-nd`."""

import sys

from conv_transpose_nd.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""What the makers of files share: numbers that JSON does not have, and how the result is printed."""
import json
import math
import sys


def number(v):
    """A float as JSON can hold it: its repr, so that no digit is lost."""
    return None if v is None else repr(float(v)) if math.isfinite(float(v)) else "null"


def done(runs):
    json.dump({"runs": runs}, sys.stdout)

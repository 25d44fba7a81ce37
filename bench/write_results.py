#!/usr/bin/env python3
"""Puts measurements (markdown with `###` headings, on stdin) into a file: each replaces the one of its heading.

    bench/write_results.py bench/RESULTS.md < rows.md
"""

import pathlib
import re
import sys


def sections(text):
    """The text before the first `###` heading, then each heading's text by heading, in order."""
    head, *parts = re.split(r"(?m)^(?=### )", text)
    return head, {part.splitlines()[0]: part.rstrip() + "\n" for part in parts}


def main():
    path = pathlib.Path(sys.argv[1])
    head, known = sections(path.read_text())
    _, new = sections(sys.stdin.read())
    known.update(new)
    path.write_text(head.rstrip() + "\n\n" + "\n".join(known.values()))


if __name__ == "__main__":
    main()

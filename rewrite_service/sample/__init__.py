"""A made-up interaction log: invented people asking an invented assistant about public facts.

It gives `make run` something to learn from on a fresh machine, and the tests a log whose truth is known. The same
seed gives the same bytes on every machine.
"""

from rewrite_service.sample.generate import generate, write

__all__ = ["generate", "write"]

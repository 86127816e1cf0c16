"""Reads the Jinja of a text; whatever cannot be read is a TemplateSyntaxError with a line."""

from __future__ import annotations

from jinja2 import Environment, TemplateSyntaxError, nodes


def parse(environment: Environment, source: str) -> nodes.Template:
    """Return the tree of a text. Raises TemplateSyntaxError, also where Jinja itself lets errors of Python through."""
    try:
        return environment.parse(source)
    except RecursionError:
        raise TemplateSyntaxError("nested too deeply", 1) from None
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise TemplateSyntaxError("a number of too many digits", 1) from None

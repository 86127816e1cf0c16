"""What a recipient may answer about the feature in a mail: each answer says that they need no lesson on it."""

from __future__ import annotations

from enum import StrEnum


class Answer(StrEnum):
    """About one feature, for one contact: nobody else of the account has said anything."""

    NOT_NEEDED = "not_needed"
    ALREADY_DO = "already_do"
    COLLEAGUE = "colleague"  #: somebody else is the right person

"""How much is asked of a server at once."""

import dataclasses
import math

from flax_imdb.data import MAX_CHARACTERS
from flax_imdb.errors import InputError, check_between, is_number

MAX_BODY = 8 * 2**20
"""Bytes of a request."""

CLIENT_SECONDS = 20.0
"""A client may take so long to send a request, and to take the answer."""

# An explanation takes as long as many predictions.
_EXPLAINED = 16


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much is asked of a server at once. More is refused.

    Of explanations there may be a sixteenth as many.

    Attributes:
      max_texts: Texts in a request.
      max_characters: Characters of a text.
      max_waiting: Texts that wait for their turn.
      deadline: Seconds until there must be an answer.
    """

    max_texts: int = 256
    max_characters: int = 50_000
    max_waiting: int = 1024
    deadline: float = 30.0

    def __post_init__(self) -> None:
        check_between("max_texts", self.max_texts, 1, 100_000)
        check_between("max_characters", self.max_characters, 1, MAX_CHARACTERS)
        check_between("max_waiting", self.max_waiting, 1, 1_000_000)
        if self.max_waiting < self.max_texts:
            raise InputError(
                f"`max_waiting` {self.max_waiting} is too small: {self.max_texts} texts may come "
                "in one request (`max_texts`)"
            )
        if not is_number(self.deadline) or not 0 < self.deadline < math.inf:
            raise InputError(
                f"`deadline` {self.deadline} makes no sense: seconds above 0 are needed"
            )

    def of_explanations(self) -> "Limits":
        """Those of requests for explanations."""
        return dataclasses.replace(
            self,
            max_texts=max(self.max_texts // _EXPLAINED, 1),
            max_waiting=max(self.max_waiting // _EXPLAINED, 1),
        )

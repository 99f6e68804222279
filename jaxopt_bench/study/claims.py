"""Claims: statements about optimizers, as data. A study supports or contradicts them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from jaxopt_bench.config import Config
from jaxopt_bench.errors import UserError
from jaxopt_bench.measures import DERIVED, split_of
from jaxopt_bench.runs import SPLITS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(Config):
    """A part of a claim: a statement about one measure of runs.

    Raises:
      UserError: if the measure does not have the form of a run's measures.
    """

    measure: str
    """"<split>_<metric>", such as "test_accuracy", or one of `measures.DERIVED`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.measure not in DERIVED and split_of(self.measure) is None:
            forms = ", ".join(f'"{split}_<metric>"' for split in SPLITS)
            raise UserError(
                f"{type(self).__name__}.measure is {self.measure!r}. Expected {forms}, "
                f"{' or '.join(map(repr, DERIVED))}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(Part):
    """The statement that one contender's results are lower than another's."""

    lower: str
    """The contender with the lower results."""
    higher: str
    """The contender with the higher results."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Association(Part):
    """The statement that a hyperparameter and a result are correlated.

    The correlation is over the trials of one contender, which searches this hyperparameter; or over several contenders,
    each with another fixed value of it. For these, the mean of each contender's confirmations counts.

    Raises:
      UserError: if neither `contender` nor `contenders` is given, or both are, or a contender is given twice.
    """

    added_later: ClassVar[tuple[str, ...]] = ("contenders",)

    contender: str = ""
    """The contender whose trials count; empty if `contenders` are given."""
    contenders: tuple[str, ...] = ()
    """The contenders whose confirmations count; empty if `contender` is given."""
    field: str
    """The hyperparameter, such as "optimizer.partial"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.contender) == bool(self.contenders) or len(set(self.contenders)) < len(self.contenders):
            raise UserError(
                f"Association.contender is {self.contender!r} and contenders is {self.contenders}. Expected one "
                "contender, whose trials count, or several different contenders, whose confirmations count."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim(Config):
    """A claim, as data. It is true if all its comparisons and associations are true."""

    text: str
    """The claim in words."""
    source: str
    """The publication or the author of the claim."""
    comparisons: tuple[Comparison, ...] = ()
    """Comparisons that must be true."""
    associations: tuple[Association, ...] = ()
    """Associations that must be true."""
    differs: str = ""
    """The differences between the settings of the study and of the claim's source; empty if there are none."""

    @property
    def parts(self) -> tuple[Comparison | Association, ...]:
        """The comparisons and the associations of the claim."""
        return *self.comparisons, *self.associations

    @property
    def contenders(self) -> list[str]:
        """The names of the contenders that the claim is about."""
        compared = [name for c in self.comparisons for name in (c.lower, c.higher)]
        associated = [name for a in self.associations for name in (a.contenders or (a.contender,))]
        return [*compared, *associated]

    def is_about_none_but(self, contenders: Sequence[str]) -> bool:
        """Returns whether all contenders that the claim is about are among the given ones."""
        return all(name in contenders for name in self.contenders)

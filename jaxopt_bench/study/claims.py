"""Claims: statements about optimizers, as data, which a study answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxopt_bench.config import Config
from jaxopt_bench.study.measured import check_measure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(Config):
    """The statement that one contender's results are lower than another's."""

    measure: str
    """"<split>_<metric>", such as "test_accuracy", or one of `measures.DERIVED`."""
    lower: str
    """The contender with the lower results."""
    higher: str
    """The one with the higher."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_measure("Comparison", self.measure)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Association(Config):
    """The statement that a hyperparameter determines a result, over the trials of one contender."""

    measure: str
    """"<split>_<metric>", such as "validation_loss", or one of `measures.DERIVED`."""
    contender: str
    """Whose trials."""
    field: str
    """The hyperparameter, as "optimizer.partial"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_measure("Association", self.measure)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim(Config):
    """A claim, as data. It is true if all its comparisons and associations are."""

    text: str
    """The claim in words."""
    source: str
    """Its source."""
    comparisons: tuple[Comparison, ...] = ()
    """Comparisons that must be true."""
    associations: tuple[Association, ...] = ()
    """Associations that must be true."""

    @property
    def parts(self) -> tuple[Comparison | Association, ...]:
        """Its comparisons and its associations."""
        return *self.comparisons, *self.associations

    @property
    def contenders(self) -> list[str]:
        """The names of the contenders that it is about."""
        compared = [name for c in self.comparisons for name in (c.lower, c.higher)]
        return [*compared, *(association.contender for association in self.associations)]

    def is_about_none_but(self, contenders: Sequence[str]) -> bool:
        """Returns whether it is about no other contenders."""
        return all(name in contenders for name in self.contenders)

"""What someone has said about optimizers, as data: statements for a study to answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxopt_bench.config import Config
from jaxopt_bench.study.measured import check_measure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(Config):
    """That one contender's results are lower than another's."""

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
    """That a hyperparameter decides on a result, over the trials of one contender."""

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
    """What someone has said, as data: it holds where all its comparisons and associations do."""

    text: str
    """In words."""
    source: str
    """Who says it."""
    comparisons: tuple[Comparison, ...] = ()
    """What must be so."""
    associations: tuple[Association, ...] = ()
    """What must be so as well."""

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

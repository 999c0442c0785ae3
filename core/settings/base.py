"""The base of every settings model: frozen, and strict about unknown fields."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """A part of the settings; a field that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Replicas(Frozen):
    """How many replicas a tier may have; with two different bounds it scales between them.

    With a `min` of 0 it is stopped while it has no calls.
    """

    min: int = Field(1, ge=0)
    max: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        return self


class SteadyReplicas(Replicas):
    """The bounds of what must always be there."""

    min: int = Field(1, ge=1)

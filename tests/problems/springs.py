"""A problem without images, labels and accuracy: a line is fitted to forces of springs. It has views of every kind."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.prng import Draw
from jaxopt_bench.problems import Metric, Problem, ProblemConfig
from jaxopt_bench.problems.views import Images, Lines, Matrix, Points, Texts, View

Forces = dict[str, Float[np.ndarray, " springs"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Springs(ProblemConfig):
    """The headline metric is the root-mean-square error of forces in newtons."""

    stiffness: float = 3.0
    """Newtons per metre."""
    splits: Literal["all", "validation", "train"] = "all"
    """The splits of the problem: all, all except test, or only train."""
    views: Literal["all", "none", "wrong", "failing"] = "all"
    """The behaviour of the problem's function for views."""

    @property
    def title(self) -> str:
        """See `ProblemConfig.title`."""
        return "springs"

    @property
    def validates(self) -> bool:
        """See `ProblemConfig.validates`."""
        return self.splits != "train"

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Returns the problem. It reads no data."""

        def examples(count: int, seed: int) -> Forces:
            rng = np.random.default_rng(seed)
            x = rng.uniform(-1, 1, count).astype(np.float32)
            noise = 0.1 * rng.standard_normal(count).astype(np.float32)
            return {"displacement": x, "force": np.float32(self.stiffness) * x + 1 + noise}

        def init(key: Key[Array, ""]) -> dict[str, Array]:
            return {"stiffness": jnp.zeros(()), "preload": jnp.zeros(())}

        def predicted(params: Mapping[str, Array], batch: Forces) -> Float[Array, " batch"]:
            return params["stiffness"] * batch["displacement"] + params["preload"]

        def loss(
            params: Mapping[str, Array], batch: Forces, key: Key[Array, ""] | None
        ) -> tuple[Float[Array, " batch"], dict[str, Array]]:
            squares = (predicted(params, batch) - batch["force"]) ** 2
            return squares / 2, {"squares": squares}

        def prepare(batch: Forces, draw: Draw | None) -> Forces:
            return {**batch, "force": batch["force"] * (1 if draw is None else 1.01)}

        def outputs(params: Mapping[str, Array], batch: Forces) -> dict[str, Array]:
            return {"force": predicted(params, batch).astype(jnp.bfloat16), "pairs": jnp.stack([batch["force"]] * 2, 1)}

        def training_views(batch: Forces, prepared: Forces) -> Sequence[View]:
            return [
                Points(title="Forces in training", x=batch["force"], y=prepared["force"], x_title="stored (N)",
                       y_title="with noise (N)")
            ]  # fmt: skip

        error = Metric(
            name="rms_error", words="RMS error", unit="N", untrained=2.0, least=0.0, resampling="ratio",
            of=lambda means: means["squares"] ** 0.5, needs=("squares",),
        )  # fmt: skip
        return Problem(
            train=examples(96, 0),
            validation=None if self.splits == "train" else examples(40, 1),
            test=examples(50, 2) if self.splits == "all" else None,
            init=init,
            loss=loss,
            prepare=prepare,
            outputs=outputs,
            metrics=(error, Metric(name="loss", unit="N²", untrained=2.0, least=0.0)),
            views=None if self.views == "none" else self._views,
            training_views=None if self.views == "none" else training_views,
        )

    def _views(self, examples: Forces, outputs: Mapping[str, np.ndarray]) -> Any:
        if self.views == "wrong":
            return "views"
        if self.views == "failing":
            raise KeyError("colour")
        true, found = examples["force"], outputs["force"]
        order = np.argsort(examples["displacement"])
        table = np.histogram2d(np.digitize(true, [0, 2]), np.digitize(found, [0, 2]), bins=[3, 3])[0]
        names = ("pull", "light push", "heavy push")
        pixels = np.clip(60 * np.abs(np.stack([true, found], 1)), 0, 255).astype(np.uint8)[:, None, :, None]
        return [
            Matrix(title="Kinds of forces", values=table, rows=names, columns=names, row_title="kind",
                   column_title="fitted kind", confusion=True),
            Points(title="Fitted forces", text="Each spring is a dot.", x=true, y=found, x_title="measured force (N)",
                   y_title="fitted force (N)", diagonal=True),
            Lines(title="Force and displacement", x=examples["displacement"][order],
                  lines={"measured": true[order], "fitted": found[order]}, x_title="displacement (m)",
                  y_title="force (N)"),
            Images(title="Forces as grey", text="Left: measured. Right: fitted.", images=pixels,
                   captions=[f"{value:.2f} N" for value in true]),
            Texts(title="Forces in words", texts=[f"{a:+.2f} N -> {b:+.2f} N" for a, b in np.stack([true, found], 1)]),
        ]  # fmt: skip

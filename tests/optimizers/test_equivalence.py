"""How users' functions are called: compared with the functions themselves, called once with Python numbers."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jaxopt_bench.config import float_fields
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, Optimizer, StepContext, equivalence, wrap_optimizer
from jaxopt_bench.optimizers.factories import FactoryOptimizer, Form

SCHEDULE = (0.1, 0.4, 1.0, 0.7, 0.3, 0.0)


def params() -> Any:
    generator = np.random.default_rng(3)
    shapes = {"kernel": (5, 4), "bias": (4,)}
    return {"layer": {name: jnp.asarray(generator.normal(size=s), jnp.float32) for name, s in shapes.items()}}


def gradients(step: int) -> Any:
    generator = np.random.default_rng(step)
    return jax.tree.map(lambda p: jnp.asarray(generator.normal(size=p.shape), jnp.float32), params())


def as_trained(optimizer: Optimizer) -> Any:
    """Returns the parameters after the schedule's steps, compiled and called as in training."""

    def at(count: Any) -> Any:
        return jnp.asarray(SCHEDULE, jnp.float32)[count]

    @jax.jit
    def step(hyperparameters: Any, count: Any, grads: Any, state: Any, now: Any) -> Any:
        context = StepContext(multiplier=at(count), multiplier_at=at, key=jax.random.key(0))
        transform = optimizer.transform(hyperparameters, context)
        updates, state = transform.update(grads, state, now, value=jnp.float32(1))
        return state, optax.apply_updates(now, updates)

    now, hyperparameters = params(), optimizer.hyperparameters()
    first = StepContext(multiplier=SCHEDULE[0], multiplier_at=at, key=jax.random.key(0))
    state = jax.jit(lambda h, p: optimizer.transform(h, first).init(p))(hyperparameters, now)
    for count in range(len(SCHEDULE)):
        before = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)
        state, now = step(hyperparameters, count, gradients(count), state, now)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) == before
    return now


def by_itself(transform: optax.GradientTransformation, multiply: bool = False) -> Any:
    """Returns the parameters after the same steps with a transformation that is created once; see `SCHEDULE`."""
    now = params()
    state = transform.init(now)
    for count, multiplier in enumerate(SCHEDULE):
        updates, state = transform.update(gradients(count), state, now)
        now = optax.apply_updates(now, jax.tree.map(lambda u: u * (multiplier if multiply else 1), updates))  # noqa: B023
    return now


def schedule(rate: float) -> optax.Schedule:
    return lambda count: rate * jnp.asarray(SCHEDULE, jnp.float32)[count]


def assert_near(one: Any, other: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), one, other)


def injected(learning_rate: float = 0.1, b1: float = 0.9, weight_decay: float = 0.1):
    return optax.inject_hyperparams(optax.adamw)(learning_rate, b1=b1, weight_decay=weight_decay)


def torch_style(lr=0.1, betas=(0.9, 0.99), eps=1e-8):
    return optax.chain(optax.scale_by_adam(betas[0], betas[1], eps), optax.scale(-lr))


def decay_if_float(learning_rate: float = 0.1, wd: float = 0.1):
    parts = [optax.add_decayed_weights(wd)] if isinstance(wd, float) and wd > 0 else []
    return optax.chain(optax.scale_by_adam(), *parts, optax.scale_by_learning_rate(learning_rate))


def number_or_schedule(learning_rate=0.1):
    if isinstance(learning_rate, (int, float)):
        return optax.adam(learning_rate)
    return optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(lambda count: -learning_rate(count)))


def only_a_schedule(lr=optax.constant_schedule(0.3)):  # noqa: B008
    return optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(lambda count: -lr(count)))


def only_a_number(learning_rate=0.1, momentum=0.9):
    if not 0 < learning_rate < 1:
        raise ValueError("learning_rate must lie between 0 and 1")
    return optax.sgd(learning_rate, momentum)


def rate_in_state(lr: float = 0.1):
    def init(params: Any) -> Any:
        return {"lr": jnp.float32(lr), "m": jax.tree.map(jnp.zeros_like, params)}

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        m = jax.tree.map(lambda m, g: 0.9 * m + g, state["m"], grads)
        return jax.tree.map(lambda m: -state["lr"] * m, m), {**state, "m": m}

    return optax.GradientTransformation(init, update)


def only_first_schedule(learning_rate=0.1):
    """Accepts a schedule but uses only its first value."""
    rate = learning_rate(0) / SCHEDULE[0] if callable(learning_rate) else learning_rate
    return optax.sgd(rate, 0.9)


def steps_of_newton(lr=0.1, ns_steps=3):
    def orthogonal(x: Any) -> Any:
        x = x / (jnp.linalg.norm(x) + 1e-7)
        for _ in range(ns_steps):
            x = 1.5 * x - 0.5 * x @ (x.T @ x) if x.ndim == 2 else x
        return x

    return optax.chain(optax.stateless(lambda u, _: jax.tree.map(orthogonal, u)), optax.scale(-lr))


def local_state(learning_rate: float = 0.1):
    class State(NamedTuple):
        momentum: Any

    def init(params: Any) -> Any:
        return State(jax.tree.map(jnp.zeros_like, params))

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, state.momentum, grads)
        return jax.tree.map(lambda m: -learning_rate * m, momentum), State(momentum)

    return optax.GradientTransformation(init, update)


def local_flax_state(learning_rate: float = 0.1):
    @flax.struct.dataclass
    class State:
        momentum: Any

    def init(params: Any) -> Any:
        return State(jax.tree.map(jnp.zeros_like, params))

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, state.momentum, grads)
        return jax.tree.map(lambda m: -learning_rate * m, momentum), State(momentum)

    return optax.GradientTransformation(init, update)


def scalars_in_state(learning_rate: float = 0.1):
    """Its state has Python numbers."""

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        state = {"count": state["count"] + 1, "rate": state["rate"] * 0.5, "flag": state["flag"], "none": None}
        return jax.tree.map(lambda g: -learning_rate * state["rate"] * g, grads), state

    return optax.GradientTransformation(lambda _: {"count": 0, "rate": 2.0, "flag": True, "none": None}, update)


def halving(count: Any) -> Any:
    return 0.5**count * schedule(0.1)(count)


def schedule_free(learning_rate: float = 0.1):
    return contrib.schedule_free_sgd(learning_rate)


def own_keys(learning_rate: float = 0.1):
    def init(params: Any) -> Any:
        return {"threefry": jax.random.key(1), "rbg": jax.random.key(2, impl="rbg"), "raw": jax.random.PRNGKey(3)}

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        split = {name: jax.random.split(key) for name, key in state.items()}
        noise = sum(jax.random.normal(own, ()) for _, own in split.values())
        return jax.tree.map(lambda g: -learning_rate * (g + noise), grads), {n: key for n, (key, _) in split.items()}

    return optax.GradientTransformation(init, update)


def without_extra(learning_rate: float = 0.1):
    inner = optax.adam(learning_rate)

    def update(grads: Any, state: Any, params: Any = None, *, scale: float = 1.0) -> Any:
        updates, state = inner.update(grads, state, params)
        return jax.tree.map(lambda u: scale * u, updates), state

    return optax.chain(optax.clip(10.0), optax.GradientTransformationExtraArgs(inner.init, update))


ONE, EACH = False, True


@pytest.mark.parametrize(
    ("factory", "plain", "how", "expected"),
    [
        (injected, ONE, "callable", lambda: by_itself(optax.adamw(schedule(0.1), weight_decay=0.1))),
        (torch_style, ONE, "argument", lambda: by_itself(optax.adam(schedule(0.1), b2=0.99))),
        (decay_if_float, EACH, "callable", lambda: by_itself(optax.adamw(schedule(0.1), weight_decay=0.1))),
        (number_or_schedule, ONE, "callable", lambda: by_itself(optax.adam(schedule(0.1)))),
        (only_a_number, EACH, "updates", lambda: by_itself(optax.sgd(0.1, 0.9), multiply=True)),
        (rate_in_state, ONE, "updates", lambda: by_itself(optax.sgd(0.1, 0.9), multiply=True)),
        (only_first_schedule, ONE, "argument", lambda: by_itself(optax.sgd(schedule(0.1), 0.9))),
        (local_state, ONE, "argument", lambda: by_itself(optax.sgd(schedule(0.1), 0.9))),
        (local_flax_state, ONE, "argument", lambda: by_itself(optax.sgd(schedule(0.1), 0.9))),
        (scalars_in_state, ONE, "argument", lambda: by_itself(optax.sgd(halving))),
        (schedule_free, ONE, "callable", lambda: by_itself(contrib.schedule_free_sgd(schedule(0.1)))),
        (own_keys, ONE, "argument", lambda: by_itself(optax.chain(own_keys(-1.0), optax.sgd(schedule(0.1))))),
        (without_extra, ONE, "argument", lambda: by_itself(optax.chain(optax.clip(10.0), optax.adam(schedule(0.1))))),
    ],
)
def test_a_function_has_the_same_effect_in_training_as_by_itself(factory, plain, how, expected):
    optimizer = wrap_optimizer(factory)()
    assert (bool(optimizer.form.plain), optimizer.form.schedule) == (plain, how), optimizer.in_words
    assert_near(as_trained(optimizer), expected())


def test_an_integer_that_counts_steps_stays_an_integer_and_the_rest_are_arrays():
    optimizer = wrap_optimizer(steps_of_newton)(ns_steps=4)
    assert optimizer.form.plain == ("ns_steps",)
    assert set(optimizer.hyperparameters()) == {"learning_rate", "weight_decay"}
    assert "each value of ns_steps is a program of its own (" in optimizer.in_words
    assert_near(as_trained(optimizer), by_itself(optax.chain(steps_of_newton(-1.0, 4), optax.sgd(schedule(0.1)))))


def test_accumulated_steps_read_the_schedule_at_the_last_of_them():
    """The optimizers of the table do the same, as they get the multiplier of the current step."""
    ours = dataclasses.replace(OPTIMIZERS["adamw"], learning_rate=0.1, weight_decay=0.1, accumulate=2)
    theirs = wrap_optimizer(injected)(accumulate=2)
    assert theirs.form.schedule == "callable"
    assert_near(as_trained(theirs), as_trained(ours))


def test_a_function_that_accepts_only_a_schedule_gets_one():
    optimizer = wrap_optimizer(only_a_schedule)(learning_rate=0.1)
    assert optimizer.form.schedule == "callable"
    assert_near(as_trained(optimizer), by_itself(optax.adam(schedule(0.1))))


def every_other(learning_rate: float = 0.1):
    return optax.MultiSteps(optax.sgd(learning_rate, 0.9), 2).gradient_transformation()


def every_other_injected(learning_rate: float = 0.1):
    return optax.MultiSteps(optax.inject_hyperparams(optax.sgd)(learning_rate), 2).gradient_transformation()


@pytest.mark.parametrize(
    ("factory", "how", "momentum"), [(every_other, "argument", 0.9), (every_other_injected, "updates", 0.0)]
)
def test_a_function_that_accumulates_reads_the_schedule_at_the_current_step(factory, how, momentum):
    """With an optax schedule, its learning rate would fall at half the speed, since it counts every second step."""
    optimizer = wrap_optimizer(factory)()
    assert optimizer.form.schedule == how
    now, trace = jax.tree.map(np.asarray, params()), jax.tree.map(lambda leaf: np.zeros(leaf.shape), params())
    for step in range(1, len(SCHEDULE), 2):
        mean = jax.tree.map(lambda a, b: (np.asarray(a) + np.asarray(b)) / 2, gradients(step - 1), gradients(step))
        trace = jax.tree.map(lambda t, g: momentum * t + g, trace, mean)
        now = jax.tree.map(lambda p, t: p - 0.1 * SCHEDULE[step] * t, now, trace)  # noqa: B023
    assert_near(as_trained(optimizer), now)


def seeded(learning_rate=0.1, weight_decay=0.0, seed=0):
    jax.random.key(seed)  # fails for a number that is not an integer
    return decay_if_float(learning_rate, weight_decay)


def every_eighth(learning_rate: float = 0.1, wd: float = 0.0):
    return optax.MultiSteps(decay_if_float(learning_rate, wd), 8).gradient_transformation()


@pytest.mark.parametrize(("factory", "reason"), [(seeded, "differs by"), (every_eighth, "updates are zero")])
def test_a_branch_is_found_even_if_it_does_not_affect_the_first_updates(factory, reason):
    optimizer = wrap_optimizer(factory)()
    assert "weight_decay" in optimizer.form.plain
    assert reason in optimizer.form.reason


def distance(learning_rate: float = 0.1):
    """Its updates are proportional to the distance of the parameters from their start."""

    def update(grads: Any, start: Any, params: Any) -> Any:
        return jax.tree.map(lambda p, s: learning_rate * (s - p), params, start), start

    return optax.GradientTransformation(lambda params: params, update)


def test_a_function_is_examined_with_parameters_that_move():
    assert wrap_optimizer(distance)().form.schedule == "argument"


class PlainRule:
    """An optimizer of the table, with the interface that `find_form` examines."""

    whole_numbers: tuple[str, ...] = ()

    def __init__(self, optimizer: Optimizer):
        self.optimizer, self.own_numbers = optimizer, tuple(float_fields(optimizer))

    def numbers(self) -> dict[str, Any]:
        return {name: getattr(self.optimizer, name) for name in self.own_numbers}

    def rule_in_form(self, numbers: Any, context: StepContext, form: Form) -> optax.GradientTransformation:
        if form.schedule == "callable":
            raise TypeError("takes no schedule")
        return self.optimizer.rule(numbers, context)


EXCEPTIONS = {
    "schedule_free_sgd": "callable",  # for the average's weights, optax reads a schedule one step ahead, ours does not
    "schedule_free_adamw": "callable",
    "rprop": "updates",  # its learning rate is the first step size, which is a part of the state
}


QUICK = {"sgd", "adamw", "padam", "mechanic_adam", "momo", "prodigy", "rprop", "schedule_free_adamw", "sm3"}


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in OPTIMIZERS
        if not OPTIMIZERS[name].line_search
    ],
)
def test_one_program_serves_all_settings_of_every_optimizer_of_the_table(name):
    optimizer = OPTIMIZERS[name]
    subject = optimizer if isinstance(optimizer, FactoryOptimizer) else PlainRule(optimizer)
    form = equivalence.find_form(subject, equivalence.small_parameters(scalar=name != "sm3"))
    assert not form.plain, form.reason
    assert form.schedule == EXCEPTIONS.get(name, "argument")


def needs_closure(learning_rate: float = 0.1):
    return optax.lbfgs(learning_rate)


def needs_objective(learning_rate: float = 0.1):
    def update(grads: Any, state: Any, params: Any = None, *, obj_fn: Any) -> Any:
        return grads, state

    return optax.chain(optax.GradientTransformationExtraArgs(lambda params: (), update), optax.sgd(learning_rate))


def reads_extra(learning_rate: float = 0.1):
    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        return extra["grad_fn"](params), state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)


def grows(learning_rate: float = 0.1):
    return optax.GradientTransformation(
        lambda params: {"seen": jnp.zeros(1)},
        lambda grads, state, params=None: (grads, {"seen": jnp.concatenate([state["seen"], jnp.zeros(1)])}),
    )


def changes_type(learning_rate: float = 0.1):
    return optax.GradientTransformation(
        lambda params: {"count": jnp.zeros([], jnp.int32)},
        lambda grads, state, params=None: (grads, {"count": state["count"] + 0.5}),
    )


def changes_structure(learning_rate: float = 0.1):
    return optax.GradientTransformation(lambda params: (), lambda grads, state, params=None: (grads, (grads,)))


def normalised(learning_rate: float = 0.1):
    return optax.chain(
        optax.stateless(lambda u, _: jax.tree.map(lambda g: g / jnp.linalg.norm(g), u)), optax.sgd(learning_rate)
    )


def normalised_over_all(learning_rate: float = 0.1):
    def update(grads: Any, params: Any) -> Any:
        norm = optax.tree.norm(grads)
        return jax.tree.map(lambda g: g / norm, grads)

    return optax.chain(optax.stateless(update), optax.sgd(learning_rate))


def flattened(learning_rate: float = 0.1):
    return optax.stateless(lambda grads, _: jax.tree.map(lambda g: g.reshape(-1), grads))


def keeps_outside(learning_rate: float = 0.1):
    seen = {}

    def init(params: Any) -> Any:
        seen["start"] = jax.tree.map(lambda p: 2 * p, params)
        return ()

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda g, s: -learning_rate * (g + s), grads, seen["start"]), state

    return optax.GradientTransformation(init, update)


def takes_no_extra(learning_rate: float = 0.1):
    def update(grads: Any, state: Any, params: Any = None, *, value: Any) -> Any:
        return jax.tree.map(lambda g: -learning_rate * value * g, grads), state

    return optax.GradientTransformation(lambda params: (), update)


def misspelt(learning_rate: float = 0.1):
    return optax.sgdd(learning_rate)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (needs_closure, r"needs_closure: its update needs 'grad' and 'value_fn', which training does not give"),
        (needs_objective, r"needs_objective: its update needs 'obj_fn', which training does not give"),
        (
            reads_extra,
            r"KeyError: 'grad_fn' \(test_equivalence.py, line \d+\). It was tried on .* Expected an update that is",
        ),
        (grows, r"grows: its update changes \['seen'\] of its state from float32\[1\] to float32\[2\]"),
        (changes_type, r"changes \['count'\] of its state from int32\[\] to float32\[\]"),
        (changes_structure, r"its update returns a state of another structure than its init"),
        (normalised, r"not finite if the gradient of \['Conv_0'\]\['kernel'\] is zero|not finite if all gradients are"),
        (normalised_over_all, r"its updates are not finite if all gradients are zero"),
        (flattened, r"its update of \['Conv_0'\]\['kernel'\] has the shape \(48,\). Expected \(2, 2, 3, 4\)"),
        (keeps_outside, r"keeps_outside: its update reads an array that its init .* left outside the state"),
        (
            takes_no_extra,
            r"takes_no_extra: its update needs 'value', .* Expected an optax.GradientTransformationExtraA",
        ),
        (
            misspelt,
            r"it fails with learning_rate 0.1, weight_decay 0: AttributeError: .*sgdd' \(test_equivalence.py, line",
        ),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_with_the_reason(factory, message):
    with pytest.raises(UserError, match=message):
        wrap_optimizer(factory)().hyperparameters()


def two_rates(lr: float = 0.1, adam_lr: float = 1e-3) -> optax.GradientTransformation:
    def labels(params: Any) -> Any:
        return jax.tree.map(lambda p: "sgd" if p.ndim == 2 else "adam", params)

    return optax.multi_transform({"sgd": optax.sgd(lr), "adam": optax.adam(adam_lr)}, labels)


def limited(lr: float = 0.1, min_lr: float = 1e-3, final_learning_rate: float = 0.1) -> optax.GradientTransformation:
    return optax.chain(optax.scale(final_learning_rate + min_lr), optax.sgd(lr))


def test_every_learning_rate_that_the_schedule_multiplies_is_named():
    assert "multiplies its arguments lr and adam_lr" in wrap_optimizer(two_rates)().in_words
    assert "multiplies its argument lr" in wrap_optimizer(limited)().in_words


def test_a_function_can_be_examined_while_another_is_traced():
    def step(hyperparameters: Any) -> Any:
        optimizer = wrap_optimizer(torch_style)()
        type(optimizer).forms.clear()
        found.append(optimizer.form)
        return hyperparameters

    found: list[Form] = []
    jax.jit(step)(jnp.ones(3))
    assert found == [Form(schedule="argument")]


def test_the_form_that_was_found_is_kept_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXOPT_BENCH_CACHE_DIR", str(tmp_path))
    optimizer = wrap_optimizer(torch_style)()
    monkeypatch.setitem(type(optimizer).__dict__["forms"], None, None)  # this class has its own dictionary
    type(optimizer).forms.clear()
    found = optimizer.form
    (kept,) = tmp_path.glob("optimizers/*.json")
    type(optimizer).forms.clear()
    with monkeypatch.context() as inner:
        inner.setattr("jaxopt_bench.optimizers.custom.find_form", lambda *_: pytest.fail("it was examined again"))
        assert optimizer.form == found
    kept.write_text("{")
    type(optimizer).forms.clear()
    assert optimizer.form == found


def partly_free(lr: float = 0.1):
    labels = {"layer": {"kernel": "kernel", "bias": "bias"}}
    return optax.multi_transform({"kernel": contrib.schedule_free_sgd(lr), "bias": optax.sgd(lr)}, labels)


def test_the_average_of_schedule_free_is_evaluated_for_its_own_arrays_only():
    """The kernel in a partition is compared with Schedule-Free that trains only this kernel."""
    optimizer = wrap_optimizer(partly_free)()
    optimizer.examine(params())
    assert optimizer.averages
    transform = optimizer.transform(optimizer.hyperparameters())
    now, state = params(), transform.init(params())
    alone = contrib.schedule_free_sgd(0.1)
    kernel, kernel_state = now["layer"]["kernel"], alone.init(now["layer"]["kernel"])
    for step in range(3):
        updates, state = transform.update(gradients(step), state, now)
        now = optax.apply_updates(now, updates)
        updates, kernel_state = alone.update(gradients(step)["layer"]["kernel"], kernel_state, kernel)
        kernel = optax.apply_updates(kernel, updates)
    found = optimizer.evaluation_parameters(state, now)["layer"]
    np.testing.assert_allclose(found["kernel"], contrib.schedule_free_eval_params(kernel_state, kernel), rtol=1e-5)
    np.testing.assert_array_equal(found["bias"], now["layer"]["bias"])
    assert not np.allclose(found["kernel"], now["layer"]["kernel"])

"""Optimizers from users' code: how they are loaded, become flags, are recorded, and are refused."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench import Experiment, Workload, user_code
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, StepContext, load, wrap_optimizer
from jaxopt_bench.optimizers import wrap_optimizer as make
from jaxopt_bench.optimizers.custom import USERS
from jaxopt_bench.optimizers.equivalence import ParametersError
from jaxopt_bench.problems import Classification

SOURCE = '''
import optax

NUMBER = 3

def heavy_ball(learning_rate: float, momentum: float = 0.9, nesterov: bool = False, schedule=None):
    """A ball that rolls.

    Args:
      learning_rate: how fast.
      momentum: how heavy.
    """
    return optax.sgd(learning_rate, momentum, nesterov)

def picky(learning_rate: float = 0.1, momentum: float = 0.9):
    if not 0 < learning_rate < 10:
        raise ValueError("learning_rate must lie between 0 and 10")
    return optax.sgd(learning_rate, momentum)

def typed(learning_rate: float = 0.1):
    if not isinstance(learning_rate, float):
        raise TypeError("learning_rate must be a float")
    return optax.sgd(learning_rate)

def no_rate(b1: float = 0.9):
    return optax.chain(optax.trace(b1), optax.scale(-1.0))

def random(learning_rate: float = 0.1, eta: float = 0.1, key=None):
    return optax.noisy_sgd(learning_rate, eta, key=key)

def labelled(learning_rate: float = 0.1):
    rules = {"body": optax.sgd(learning_rate), "head": optax.adam(learning_rate)}
    return optax.multi_transform(rules, {"conv": "body", "head": "head"})

def wrong():
    return 3

def unflaggable(base: optax.GradientTransformation):
    return base

def clashing(clip_norm: float = 1.0):
    return optax.sgd(clip_norm)

def recorded(code: str = "x"):
    return optax.sgd(0.1)

def positional(learning_rate=0.1, /):
    return optax.sgd(learning_rate)
'''


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "my_optimizers.py"
    path.write_text(SOURCE)
    return path


def updates(optimizer, multiplier=1.0, grad=2.0):
    """Returns the updates of three steps with the same gradient."""
    context, params, made = StepContext(multiplier, key=jax.random.key(0)), {"w": jnp.ones(3)}, []
    state = optimizer.transform(optimizer.hyperparameters(), context).init(params)
    for _ in range(3):
        transform = optimizer.transform(optimizer.hyperparameters(), context)
        update, state = transform.update({"w": jnp.full(3, grad)}, state, params, value=1.0)
        made.append(np.asarray(update["w"]))
    return np.stack(made)


def test_a_functions_arguments_are_fields_and_its_docstring_their_help(file):
    cls = load(f"{file}:heavy_ball")
    assert {field.name: field.type for field in dataclasses.fields(cls) if field.name in cls.arguments.values()} == {
        "learning_rate": float,
        "momentum": float,
        "nesterov": bool,
    }
    assert cls.__doc__ is not None
    assert cls.__doc__.startswith("A ball that rolls.")
    assert "momentum: how heavy." in cls.__doc__
    optimizer = cls(learning_rate=0.1, momentum=0.5, nesterov=True)
    assert set(optimizer.hyperparameters()) == {"learning_rate", "weight_decay", "momentum"}
    np.testing.assert_allclose(updates(optimizer, 0.5), updates(SGD(learning_rate=0.05, momentum=0.5, nesterov=True)))


def test_a_missing_weight_decay_and_schedule_are_added_around_the_function(file):
    """Weight decay is added if the function has none, and the schedule if the function has no learning rate."""
    optimizer = load(f"{file}:no_rate")(b1=0.5, learning_rate=0.1, weight_decay=0.3)
    np.testing.assert_allclose(
        updates(optimizer, 0.5), updates(SGD(learning_rate=0.05, momentum=0.5, weight_decay=0.3)), rtol=1e-6
    )


def test_a_module_is_found_in_the_working_directory_and_among_packages(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert load("my_optimizers:no_rate").reference == "my_optimizers:no_rate"
    np.testing.assert_allclose(updates(load("optax:lion")(learning_rate=0.1)), updates(_lion()))


def _lion():
    return dataclasses.replace(OPTIMIZERS["lion"], learning_rate=0.1)


def test_a_function_that_branches_has_static_numbers_and_a_schedule_on_its_updates(file):
    for name in ("picky", "typed"):
        optimizer = load(f"{file}:{name}")(learning_rate=0.2)
        assert optimizer.form.plain == tuple(optimizer.arguments.values())
        assert set(optimizer.hyperparameters()) == {"weight_decay"}
        sgd = SGD(learning_rate=0.1, momentum=0.9 if name == "picky" else None)
        np.testing.assert_allclose(updates(optimizer, 0.5), updates(sgd), rtol=1e-6)
    assert not load(f"{file}:heavy_ball")(learning_rate=0.1).form.plain
    experiments = [
        Experiment(
            workload=Workload(problem=Classification(dataset="digits", model=CNN())),
            optimizer=load(f"{file}:picky")(learning_rate=rate),
        )
        for rate in (0.1, 0.2)
    ]
    assert experiments[0].program() != experiments[1].program()


def test_a_function_for_certain_parameters_is_examined_on_these_parameters(file):
    optimizer = load(f"{file}:labelled")()
    with pytest.raises(
        ParametersError, match=r"my_optimizers.py:labelled: its init or update fails: .* on parameters such as"
    ):
        optimizer.examine()
    optimizer.examine({"conv": {"kernel": jnp.zeros((3, 3, 8, 16))}, "head": {"bias": jnp.zeros(10)}})
    assert not optimizer.form.plain


def test_a_function_with_random_numbers_gets_the_key_of_the_run_as_integers(file):
    optimizer = load(f"{file}:random")()
    states = [
        optimizer.transform(optimizer.hyperparameters(), StepContext(key=jax.random.key(seed))).init({"w": jnp.ones(3)})
        for seed in (0, 1)
    ]
    keys = [optax.tree.get(state, "rng_key") for state in states]
    assert keys[0].dtype == jnp.uint32
    assert not np.array_equal(*keys)


def test_a_changed_file_changes_the_digest_and_a_moved_file_does_not(file):
    def experiment():
        return Experiment(
            workload=Workload(problem=Classification(dataset="digits", model=CNN())),
            optimizer=load(f"{file}:no_rate")(),
        )

    before = experiment()
    file.write_text(SOURCE + "\n# changed\n")
    assert experiment().digest != before.digest
    file.write_text(SOURCE)
    assert experiment().digest == before.digest
    moved = file.rename(file.parent.parent / file.name)
    assert dataclasses.replace(before, optimizer=load(f"{moved}:no_rate")()).digest == before.digest


def test_a_record_is_read_without_running_code_and_cannot_be_used(file, monkeypatch):
    optimizer = load(f"{file}:heavy_ball")(learning_rate=0.1, clip_norm=2.0)
    experiment = Experiment(
        workload=Workload(problem=Classification(dataset="digits", model=CNN())), optimizer=optimizer
    )
    written = experiment.to_json()
    assert written["optimizer"]["name"] == "my_optimizers.py:heavy_ball"
    assert Experiment.from_json(written) == experiment  # the same code is still loaded
    monkeypatch.delitem(USERS.loaded, ("my_optimizers.py:heavy_ball", written["optimizer"]["code"]))
    read = Experiment.from_json(written)
    assert (read.to_json(), read.digest) == (written, experiment.digest)
    assert (read.optimizer.learning_rate, read.optimizer.clip_norm) == (0.1, 2.0)
    with pytest.raises(UserError, match=r"the optimizer my_optimizers.py:heavy_ball .* which is not loaded"):
        read.optimizer.transform(read.optimizer.hyperparameters())


def test_a_function_object_needs_no_file():
    cls = make(optax.sign_sgd)
    assert cls.reference == "optax._src.alias:sign_sgd"
    np.testing.assert_allclose(updates(cls(learning_rate=0.1)), -0.1)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module:f", "'no_such_module:f' cannot be imported: ModuleNotFoundError"),
        ("nowhere.py:f", r"nowhere.py is not a file. Expected MODULE:NAME or FILE.py:NAME"),
        (":f", "is not a reference. Expected MODULE:NAME"),
        ("{file}:heavy_bal", "unknown function of .*; did you mean heavy_ball"),
        ("{file}:NUMBER", "is 3. Expected MODULE:FUNCTION"),
        (
            "{file}:unflaggable",
            "'base' without a default and without a type that a flag can have. Expected a default, or the type float",
        ),
        ("{file}:positional", "positional-only parameter 'learning_rate'"),
        ("{file}:recorded", "'code', but every optimizer already has a field or an attribute of this name"),
        ("{file}:clashing", "'clip_norm', but every optimizer already has a field"),
    ],
)
def test_unusable_references_and_functions_are_refused_with_a_reason(reference, message, file):
    with pytest.raises(UserError, match=message):
        load(reference.format(file=file))


def test_functions_that_fail_or_return_something_else_are_refused(file):
    with pytest.raises(UserError, match=r"wrong returned 3. Expected an optax.GradientTransformation"):
        load(f"{file}:wrong")().hyperparameters()
    with pytest.raises(UserError, match=r"picky.*ValueError: learning_rate must lie between"):
        updates(load(f"{file}:picky")(learning_rate=20.0))
    file.write_text("def broken(:")
    with pytest.raises(UserError, match="cannot be imported: SyntaxError"):
        load(f"{file}:broken")


def test_functions_that_a_file_does_not_identify_are_refused():
    def local(learning_rate=0.1):
        return optax.sgd(learning_rate)

    for odd in (local, functools.partial(optax.sgd, momentum=0.9), lambda: optax.sgd(0.1)):
        with pytest.raises(UserError, match=r"is not a function at the top level of a file\. Expected such a function"):
            wrap_optimizer(odd)


def test_a_partial_in_a_file_is_identified_by_that_file(file):
    file.write_text(SOURCE + "\nimport functools\nheavy = functools.partial(optax.sgd, momentum=0.9)\n")
    heavy = load(f"{file}:heavy")
    assert heavy.code == load(f"{file}:no_rate").code
    np.testing.assert_allclose(updates(heavy(learning_rate=0.1)), updates(SGD(learning_rate=0.1, momentum=0.9)))


def test_a_file_is_run_again_only_if_its_text_changed(file):
    runs = file.with_name("runs")
    source = f"{SOURCE}\nwith open({str(runs)!r}, 'a') as log:\n    log.write('run ')\n"
    file.write_text(source)
    first = load(f"{file}:no_rate")
    assert load(f"{file}:no_rate") is first
    assert runs.read_text() == "run "
    file.write_text(source + "# changed\n")
    changed = load(f"{file}:no_rate")
    assert changed.code != first.code
    assert runs.read_text() == "run run "
    file.write_text(source)
    assert load(f"{file}:no_rate") is first
    assert runs.read_text() == "run run "


def test_a_learning_rate_with_the_default_none_must_be_given():
    with pytest.raises(UserError, match="has the argument 'learning_rate' without a default"):
        OPTIMIZERS["optax:adafactor"]
    assert load("optax:adafactor")(learning_rate=0.1).learning_rate == 0.1


def test_a_malformed_docstring_causes_no_error(file):
    file.write_text(SOURCE + '\ndef odd(x: float = 1.0):\n    """Odd.\n\n    Args:\n    """\n    return optax.sgd(x)\n')
    assert load(f"{file}:odd").__doc__ == "Odd."


def test_records_with_the_same_contents_are_equal(file, monkeypatch):
    written = Experiment(
        workload=Workload(problem=Classification(dataset="digits", model=CNN())), optimizer=load(f"{file}:no_rate")()
    ).to_json()
    monkeypatch.setattr(USERS, "loaded", {})
    assert Experiment.from_json(written) == Experiment.from_json(written)


@pytest.fixture
def elsewhere(monkeypatch):
    """Returns a function that makes this process forget all loaded code, as in a new process."""

    def forget() -> None:
        monkeypatch.setattr(USERS, "loaded", {})
        monkeypatch.setattr(user_code, "_FILES", {})

    return forget


@pytest.mark.parametrize("reference", ["{file}:no_rate", "my_optimizers:no_rate", "optax:lion"])
def test_the_attributes_of_a_class_are_enough_to_load_it_again(reference, file, monkeypatch, elsewhere):
    with monkeypatch.context() as here:
        here.chdir(file.parent)
        here.delitem(sys.modules, "my_optimizers", raising=False)
        first = load(reference.format(file="my_optimizers.py"))
    assert pathlib.Path(first.code_file).is_absolute()
    elsewhere()
    monkeypatch.delitem(sys.modules, "my_optimizers", raising=False)
    again = USERS.load_again(first.reference, first.code_file, first.code)
    assert again is not first
    written = Experiment(
        workload=Workload(problem=Classification(dataset="digits", model=CNN())), optimizer=first(learning_rate=0.1)
    )
    assert Experiment.from_json(written.to_json()).optimizer == again(learning_rate=0.1)
    assert Experiment.from_json(written.to_json()).digest == written.digest


def test_a_function_of_the_main_program_is_loaded_again_from_its_file(file, elsewhere):
    module = types.ModuleType("__main__")
    module.__file__ = str(file)
    exec(compile(SOURCE, file, "exec"), vars(module))
    with pytest.MonkeyPatch.context() as there:
        there.setitem(sys.modules, "__main__", module)
        first = wrap_optimizer(vars(module)["no_rate"])
    elsewhere()
    assert first.reference == "__main__:no_rate"
    assert USERS.load_again(first.reference, first.code_file, first.code).reference == first.reference


def test_a_changed_or_missing_file_is_not_loaded_again(file, elsewhere):
    elsewhere()  # otherwise the class could be that of another test's file with this text
    first = load(f"{file}:no_rate")
    elsewhere()
    file.write_text(SOURCE + "\n# changed\n")
    with pytest.raises(UserError, match="when it was loaded first"):
        USERS.load_again(first.reference, first.code_file, first.code)
    file.unlink()
    with pytest.raises(UserError, match="is not a file"):
        USERS.load_again(first.reference, first.code_file, first.code)

"""A job is sent to a worker as plain data; these tests do not need Ray."""

from __future__ import annotations

import pathlib
import pickle
import subprocess
import sys

from jaxopt_bench import models, optimizers, problems
from jaxopt_bench.compare.jobs import Job
from jaxopt_bench.compare.worker import SerializedJob
from jaxopt_bench.experiment import Workload
from jaxopt_bench.problems import Classification
from jaxopt_bench.study import Contender, Study, plan_trials, units

USERS_CODE = '''
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxopt_bench import Problem

def line(slope: float = 1.0):
    """Learn a slope."""
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    return Problem(
        train=(x[:40], slope * x[:40]), validation=(x[40:], slope * x[40:]), init=lambda key: jnp.zeros(1),
        loss=lambda w, batch, key: ((batch[0] * w - batch[1]) ** 2).mean(),
    )

class Net(nn.Module):
    num_outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.num_outputs)(x.reshape(len(x), -1))

def mine(learning_rate: float = 0.1):
    """Plain steps."""
    return optax.sgd(learning_rate)
'''


def test_a_worker_loads_the_optimizer_the_problem_and_the_model_of_a_user(tmp_path: pathlib.Path) -> None:
    """The job is unpickled in a new process, which has not loaded the user's file."""
    file = tmp_path / "users.py"
    file.write_text(USERS_CODE)
    own = Contender(name="mine", optimizer=optimizers.load(f"{file}:mine")())
    workloads = (
        Workload(name="line", problem=problems.load(f"{file}:line")(slope=2.0)),
        Workload(name="net", problem=Classification(model=models.load(f"{file}:Net")())),
    )
    study = Study(name="users", workloads=workloads, contenders=(own,), trials=1, finalists=0, seeds=1)
    jobs = [SerializedJob.of(Job("trial", unit, tuple(plan_trials(study, unit)))) for unit in units(study)]
    assert [len(job.users) for job in jobs] == [2, 2]
    (tmp_path / "jobs.pickle").write_bytes(pickle.dumps(jobs))
    code = (
        "import pathlib, pickle\n"
        f"line, net = pickle.loads(pathlib.Path({str(tmp_path / 'jobs.pickle')!r}).read_bytes())\n"
        "(line,), (net,) = line.load(), net.load()\n"
        "print(len(line.workload.problem.load().train[0]), line.optimizer.rule)\n"
        "print(net.workload.problem.model.module(10).apply)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("40 ")

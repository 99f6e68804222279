"""digits_autoencoder_* and digits_vae_*: autoencoders of 1,797 real digits of 8×8 pixels.

Trains:  a deep autoencoder, 64-128-64-32-8-32-64-128-64 (TODO parameters), and a variational autoencoder,
         64-128-64-8-64-128-64 (TODO), on 1,293 images (144 validate, 360 test).
From:    Hinton & Salakhutdinov (2006) and Kingma & Welling (2014), with smaller layers; the digits are those of
         scikit-learn, so nothing is downloaded.
Expect:  TODO
Run:     make run EXP=digits_autoencoder_adam
         make run EXP=digits_vae_adam
"""

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.optimizers import SGD, Adam, Cosine, Optimizer
from jaxopt_bench.problems import Autoencoder, ProblemConfig, VariationalAutoencoder


def experiment(problem: ProblemConfig, optimizer: Optimizer) -> Experiment:
    """Returns a workload with one optimizer."""
    return Experiment(problem=problem, optimizer=optimizer, schedule=Cosine(warmup=1), epochs=100, batch_size=32)


EXPERIMENTS = {
    "digits_autoencoder_sgd": experiment(Autoencoder(), SGD(learning_rate=3e-3, momentum=0.9)),
    "digits_autoencoder_nesterov": experiment(Autoencoder(), SGD(learning_rate=3e-3, momentum=0.9, nesterov=True)),
    "digits_autoencoder_adam": experiment(Autoencoder(), Adam(learning_rate=3e-3)),
    "digits_vae_sgd": experiment(VariationalAutoencoder(), SGD(learning_rate=1e-4, momentum=0.9)),
    "digits_vae_adam": experiment(VariationalAutoencoder(), Adam(learning_rate=3e-3)),
}

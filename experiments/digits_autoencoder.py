"""digits_autoencoder_* and digits_vae_*: autoencoders of 1,797 real digits of 8×8 pixels.

Trains:  a deep autoencoder, 64-128-64-32-8-32-64-128-64 (37,896 parameters), and a variational autoencoder,
         64-128-64-8-64-128-64 (34,768), on 1,293 images (144 for validation, 360 for testing).
From:    Hinton & Salakhutdinov (2006) and Kingma & Welling (2014), with smaller layers. The digits are those of
         scikit-learn and part of this package, so nothing is downloaded.
Expect:  after 100 epochs (4,000 steps), seed 0, on the test split: a squared error per image of 1.016 with SGD, 1.013
         with Nesterov momentum, 0.826 with Adam. The variational autoencoder reaches 2.825 bits per dimension with SGD
         and 2.314 with Adam (a negative ELBO of 125.3 and 102.7 nats). A run took 49 to 114 s on two CPU cores of a
         machine shared with other programs (load 10).
Run:     make run EXP=digits_autoencoder_adam
         make run EXP=digits_vae_adam
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.optimizers import SGD, Adam, Cosine, Optimizer
from jaxopt_bench.problems import Autoencoder, VariationalAutoencoder

AUTOENCODER = Workload(name="digits_autoencoder", problem=Autoencoder(), epochs=100, batch_size=32)
VARIATIONAL = Workload(name="digits_vae", problem=VariationalAutoencoder(), epochs=100, batch_size=32)


def experiment(workload: Workload, optimizer: Optimizer) -> Experiment:
    """Returns a workload with one optimizer."""
    return Experiment(workload=workload, optimizer=optimizer, schedule=Cosine(warmup=1))


EXPERIMENTS = {
    "digits_autoencoder_sgd": experiment(AUTOENCODER, SGD(learning_rate=3e-3, momentum=0.9)),
    "digits_autoencoder_nesterov": experiment(AUTOENCODER, SGD(learning_rate=3e-3, momentum=0.9, nesterov=True)),
    "digits_autoencoder_adam": experiment(AUTOENCODER, Adam(learning_rate=3e-3)),
    "digits_vae_sgd": experiment(VARIATIONAL, SGD(learning_rate=1e-4, momentum=0.9)),
    "digits_vae_adam": experiment(VARIATIONAL, Adam(learning_rate=3e-3)),
}

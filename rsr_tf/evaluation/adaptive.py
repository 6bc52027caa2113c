"""Stand-in with the interface of the adaptive attacks, to be replaced by them: its `APGD` is plain PGD."""

import tensorflow as tf

from rsr_tf.attacks import cross_entropy, project_linf, random_start, sign_step


def dlr(labels, logits):
    ordered = tf.sort(logits, axis=-1, direction="DESCENDING")
    own = tf.gather(logits, labels, batch_dims=1)
    other = tf.where(own >= ordered[:, 0], ordered[:, 1], ordered[:, 0])
    return -(own - other) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


class AdaptivePGD:
    def __init__(
        self,
        *,
        epsilon=8 / 255,
        norm="linf",
        step_size=None,
        steps=20,
        draws=20,
        restarts=1,
        loss="cross_entropy",
        random_start=True,
    ):
        self.epsilon, self.steps, self.draws, self.restarts, self.loss = epsilon, steps, draws, restarts, loss
        self.step_size = step_size or 2.5 * epsilon / steps

    def __call__(self, model_fn, x, labels, *, seed=None):
        loss_fn = {"cross_entropy": cross_entropy, "dlr": dlr}[self.loss]

        def gradient(x_adv):
            def draw(i, total, loss):
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(x_adv)
                    own_loss = loss_fn(labels, model_fn(x_adv))
                return i + 1, total + tape.gradient(own_loss, x_adv), loss + own_loss

            return tf.while_loop(lambda i, *_: i < self.draws, draw, (0, tf.zeros_like(x), tf.zeros(tf.shape(labels))))[
                1:
            ]

        def restart(r, best, best_loss):
            def step(i, x_adv):
                return i + 1, project_linf(sign_step(x_adv, gradient(x_adv)[0], self.step_size), x, self.epsilon)

            x_adv = tf.while_loop(lambda i, _: i < self.steps, step, (0, random_start(x, self.epsilon, seed)))[1]
            loss = gradient(x_adv)[1]
            better = loss > best_loss
            return r + 1, tf.where(better[:, None, None, None], x_adv, best), tf.where(better, loss, best_loss)

        out = tf.while_loop(lambda r, *_: r < self.restarts, restart, (0, x, tf.fill(tf.shape(labels), -float("inf"))))
        return out[1]

    def get_config(self):
        return {
            "epsilon": self.epsilon,
            "step_size": self.step_size,
            "steps": self.steps,
            "draws": self.draws,
            "restarts": self.restarts,
            "loss": self.loss,
        }


APGD = AdaptivePGD

"""A TensorFlow 1 program: graph, placeholders, variable scope, session, checkpoint."""

import os
import sys
import tempfile

import numpy as np
import tensorflow as tf

import conv_transpose_nd as ct

v1 = tf.compat.v1


def build():
    """Small pictures -> large ones, a loss, a step; in the graph that is the default."""
    small = v1.placeholder(tf.float32, [None, 8, 8, 1], name="small")
    large = v1.placeholder(tf.float32, [None, 16, 16, 1], name="large")
    with v1.variable_scope("generator"):
        hidden = ct.compat.v1.layers.conv2d_transpose(
            small, 8, 4, strides=2, padding="same", activation=tf.nn.relu
        )
        result = ct.compat.v1.layers.conv2d_transpose(hidden, 1, 3, padding="same")
    loss = tf.reduce_mean((result - large) ** 2)
    return small, large, loss, v1.train.AdamOptimizer(0.01).minimize(loss)


def train(checkpoint, steps=60):
    """Trains, saves, restores in a new session; the first and last loss, and the restored one."""
    random = np.random.default_rng(0)
    pictures = random.random([16, 8, 8, 1], np.float32)
    feed = pictures, pictures.repeat(2, 1).repeat(2, 2)
    with v1.Graph().as_default():
        v1.set_random_seed(1)
        small, large, loss, step = build()
        feed_dict = dict(zip((small, large), feed, strict=True))
        saver = v1.train.Saver(v1.trainable_variables())
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            first = session.run(loss, feed_dict)
            for _ in range(steps):
                session.run(step, feed_dict)
            last = session.run(loss, feed_dict)
            path = saver.save(session, checkpoint)
        with v1.Session() as session:
            saver.restore(session, path)
            return first, last, session.run(loss, feed_dict)


if __name__ == "__main__":
    path = os.path.join(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(), "model")
    first, last, restored = train(path)
    print(f"first loss {first:.4f}, last {last:.4f}, restored {restored:.4f}")
    print(*(name for name, _ in tf.train.list_variables(path)))

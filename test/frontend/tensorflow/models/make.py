"""Makes the models of this folder with TensorFlow (2.15 made those committed), each with a case for the conformance runner: make.py."""

import json
import os
import shutil

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
here = os.path.dirname(os.path.abspath(__file__))


def formula(shape, dtype):
    k = np.arange(int(np.prod(shape)), dtype=np.int64)
    values = (((k * 7919 + 13) % 1009) / 1009).astype(np.float32) if dtype.is_floating else (k * 7 + 3) % 11
    return values.astype(dtype.as_numpy_dtype).reshape(shape)


def write_case(folder, shapes):
    """Runs serving_default on inputs by formula."""
    with v1.Session(graph=tf.Graph()) as session:
        signature = v1.saved_model.load(session, ["serve"], folder).signature_def["serving_default"]
        inputs = {k: formula(shapes[k], tf.as_dtype(v.dtype)) for k, v in signature.inputs.items() if k in shapes}
        names = {k: v.name for k, v in signature.outputs.items()}
        values = session.run(names, {signature.inputs[k].name: x for k, x in inputs.items()})
    case = {
        "signature": "serving_default",
        "tolerance": {"rtol": 1e-3, "atol": 1e-5},
        "inputs": [{"key": k, "tensor": signature.inputs[k].name, "dtype": str(x.dtype), "shape": list(x.shape)} for k, x in inputs.items()],
        "outputs": [
            {"key": k, "tensor": names[k], "dtype": str(y.dtype), "shape": list(y.shape), "values": y.reshape(-1).tolist()}
            for k, y in values.items()
        ],
    }
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(case, file, indent=1)


def flat(build, shapes):
    """A graph of TensorFlow 1, with its control flow."""
    folder = os.path.join(here, build.__name__)
    shutil.rmtree(folder, ignore_errors=True)
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.disable_control_flow_v2()
        v1.set_random_seed(1)
        inputs, outputs = build()
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(folder)
        signature = v1.saved_model.predict_signature_def(inputs, outputs)
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    write_case(folder, shapes)


def condition_in_loop():
    x = v1.placeholder(tf.float32, [None, 4], "x")
    w = v1.get_variable("w", [4, 4])

    def body(i, h):
        return i + 1, v1.cond(tf.equal(i % 2, 0), lambda: tf.tanh(tf.matmul(h, w)), lambda: h * 0.5 + 1)

    return {"x": x}, {"y": tf.identity(v1.while_loop(lambda i, h: i < 5, body, [0, x])[1], "y")}


def loop_in_condition():
    x = v1.placeholder(tf.float32, [2, 4], "x")
    chosen = v1.placeholder_with_default(True, [], "chosen")
    w = v1.get_variable("w", [4])
    loop = lambda: v1.while_loop(lambda j, h: j < 3, lambda j, h: (j + 1, h * w + 1), [0, x])[1]
    return {"x": x}, {"y": tf.identity(v1.cond(chosen, loop, lambda: x * 2), "y")}


def partitioned():
    """Variables in pieces along either axis; pieces of more than 63 columns have keys of two bytes a number."""

    def variable(name, shape, pieces, axis):
        partitioner = v1.fixed_size_partitioner(pieces, axis)
        return v1.get_variable(name, shape, partitioner=partitioner)

    x, ids = v1.placeholder(tf.float32, [None, 7], "x"), v1.placeholder(tf.int32, [None], "ids")
    w, u, e = variable("w", [7, 5], 3, 0), variable("u", [5, 150], 2, 1), variable("e", [9, 5], 2, 0)
    rows = tf.gather(tf.convert_to_tensor(e), ids % 9)
    y = tf.nn.relu(x @ tf.convert_to_tensor(w) + rows) @ tf.convert_to_tensor(u)
    return {"x": x, "ids": ids}, {"y": tf.reduce_sum(tf.reshape(y, [-1, 10, 15]), 1, name="y")}


def row_lengths():
    """Rows of lengths that only the run tells, read backwards; their batch has another name than the lengths'."""
    x, n = v1.placeholder(tf.float32, [None, 4, 3], "x"), v1.placeholder(tf.int32, [None], "n")
    reversed_rows = tf.reverse_sequence(x, tf.minimum(n, 4), 1, 0)
    y, state = v1.nn.dynamic_rnn(v1.nn.rnn_cell.GRUCell(3), reversed_rows, n, dtype=tf.float32)
    return {"x": x, "n": n}, {"y": tf.identity(y, "y"), "state": tf.identity(state, "state")}


class TwoVariables(tf.Module):
    """Variables of one name, read in functions that call functions."""

    def __init__(self):
        super().__init__()
        self.first = tf.Variable(2.0)
        self.second = tf.Variable([3.0, 5.0])

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def both(self, x):
        return {"first": self.once(x), "second": tf.unstack(x * self.second, axis=1)[1]}

    @tf.function
    def once(self, x):
        return x * self.first


flat(condition_in_loop, {"x": [3, 4]})
flat(loop_in_condition, {"x": [2, 4]})
flat(partitioned, {"x": [3, 7], "ids": [3]})
flat(row_lengths, {"x": [2, 4, 3], "n": [2]})
folder = os.path.join(here, "two_variables")
shutil.rmtree(folder, ignore_errors=True)
module = TwoVariables()
tf.saved_model.save(module, folder, signatures=module.both)
os.remove(os.path.join(folder, "fingerprint.pb"))
write_case(folder, {"x": [3, 2]})

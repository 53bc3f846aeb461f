"""The part of TF1's `tf.layers.Layer` that a layer with variables of its own needs.

Variables come from `tf.compat.v1.get_variable`, and with it names, reuse, partitioners, custom
getters and the collections GLOBAL_VARIABLES and TRAINABLE_VARIABLES. Longer than most files: these
are the public attributes of TF1's class, each of which is short.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_v1 = tf.compat.v1

# How many layers of a name each graph has had.
_counts: weakref.WeakKeyDictionary[Any, dict[str, int]] = weakref.WeakKeyDictionary()


class _Records:
    """Lists that tf.Module must not track, for checkpoints hold what it tracks."""

    def __init__(self) -> None:
        self.trainable: list[Any] = []
        self.non_trainable: list[Any] = []
        self.losses: list[Any] = []  # tensors, or where there is no graph what computes one
        self.activity_losses: list[Any] = []
        self.updates: list[Any] = []
        self.graph: Any = None


class Layer(tf.Module):
    """TF1's base class of layers: variables in a variable scope, losses in a collection."""

    def __init__(
        self,
        default_name: str,
        trainable: bool,
        name: Any,
        dtype: Any,
        activity_regularizer: Callable[..., Any] | None,
        _scope: Any = None,
        _reuse: Any = None,
    ) -> None:
        super().__init__()
        self.trainable = trainable
        self.built = False
        self.activity_regularizer = activity_regularizer
        self._dtype = None if dtype is None else tf.as_dtype(dtype).name
        self._reuse = _reuse
        named = bool(name) and not isinstance(name, _v1.VariableScope)
        self._layer_name = name if named else _unique_name(default_name)
        self._base_name = name.name if isinstance(name, _v1.VariableScope) else name or default_name
        self._records = _Records()
        self._scope: Any = None
        if _scope:
            with _v1.variable_scope(_scope) as captured:
                self._scope = captured

    @property
    def name(self) -> str:
        """Name of the layer. It is not always that of its variables' scope: see `scope_name`."""
        return self._layer_name

    @property
    def dtype(self) -> str | None:
        """Name of the variables' dtype; None until the first input tells it."""
        return self._dtype

    @property
    def scope_name(self) -> str:
        """Name of the variable scope."""
        if self._scope is None:
            raise ValueError(
                f"scope_name must be read after the first call of the layer {self.name!r}, which "
                "determines it"
            )
        return str(self._scope.name)

    @property
    def graph(self) -> tf.Graph | None:
        """The graph of the first call; None before."""
        if tf.executing_eagerly():
            raise RuntimeError("graph must be read while a graph is built, got eager execution")
        return self._records.graph

    @property
    def trainable_weights(self) -> list[Any]:
        """Variables to be trained; none where `trainable` is False."""
        return list(self._records.trainable) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Any]:
        """All other variables."""
        frozen = [] if self.trainable else self._records.trainable
        return [*frozen, *self._records.non_trainable]

    @property
    def weights(self) -> list[Any]:
        """All variables, trainable ones first."""
        return self.trainable_weights + self.non_trainable_weights

    # tf.Module has these names too, as tuples of all that it finds.
    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def losses(self) -> list[Any]:
        """Losses of the regularizers, of variables that this layer created and of its outputs."""
        kept = [*self._records.losses, *self._records.activity_losses]
        return [loss() if callable(loss) else loss for loss in kept]

    @property
    def updates(self) -> list[Any]:
        """Operations given to `add_update`."""
        return list(self._records.updates)

    def __call__(self, inputs: Any, *, scope: Any = None) -> tf.Tensor:
        """Applies the layer; the first call creates its variables."""
        inputs = tf.convert_to_tensor(inputs, None if self._dtype is None else self._dtype)
        self._set_scope(scope)
        reuse = True if self.built else self._reuse
        with (
            _v1.variable_scope(self._scope, reuse=reuse, auxiliary_name_scope=False) as current,
            tf.name_scope(current.original_name_scope),
        ):
            if not self.built:
                self._dtype = self._dtype or inputs.dtype.base_dtype.name
                self._records.graph = None if tf.executing_eagerly() else _v1.get_default_graph()
                self.build(inputs.shape)
                self.built = True
            outputs = self.call(inputs)
            self._regularize_activity(inputs, outputs)
        return outputs

    apply = __call__

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the variables."""
        raise NotImplementedError

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Computes the output."""
        raise NotImplementedError

    def count_params(self) -> int:
        """Number of elements of all variables."""
        if not self.built:
            raise ValueError(f"count_params must be called after the layer {self.name!r}")
        return sum(v.shape.num_elements() for v in self.weights)

    def add_loss(self, loss: Any) -> None:
        """Adds to `losses`, and in a graph to the collection REGULARIZATION_LOSSES."""
        self._add_loss(self._records.losses, loss)

    def add_update(self, update: Any) -> None:
        """Adds to `updates`, and in a graph to the collection UPDATE_OPS."""
        self._records.updates.append(update)
        if not _eager_outside():
            _v1.add_to_collection(_v1.GraphKeys.UPDATE_OPS, update)

    def add_weight(
        self,
        name: str,
        shape: Any,
        initializer: Any = None,
        regularizer: Callable[..., Any] | None = None,
        constraint: Callable[..., Any] | None = None,
        trainable: bool = True,
    ) -> Any:
        """Creates a variable in the layer's scope, or returns the one of that name to be reused."""
        existing = set() if _eager_outside() else {id(v) for v in _v1.global_variables()}
        variable = _v1.get_variable(
            name,
            shape,
            dtype=self._dtype,
            initializer=initializer,
            trainable=trainable and self.trainable,
            constraint=constraint,
        )
        # A partitioner makes several; a custom getter may make a tensor of one.
        parts = list(variable) if hasattr(variable, "as_tensor") else [variable]
        if regularizer is not None and not any(id(v) in existing for v in parts):
            for part in parts:
                self._regularize(name, part, regularizer)
        # A scope or a getter may have decided that it is not to be trained.
        frozen = self.trainable and not all(getattr(v, "trainable", True) for v in parts)
        of_kind = trainable and not frozen
        (self._records.trainable if of_kind else self._records.non_trainable).extend(parts)
        return variable

    add_variable = add_weight

    def _regularize(self, name: str, variable: Any, regularizer: Callable[..., Any]) -> None:
        def loss() -> Any:
            with tf.name_scope(f"{name}/Regularizer"):
                return regularizer(variable)

        self._add_loss(self._records.losses, loss)

    def _regularize_activity(self, inputs: tf.Tensor, outputs: tf.Tensor) -> None:
        if self.activity_regularizer is None:
            return
        with tf.name_scope("ActivityRegularizer"):
            # Per example, as all since TF 1.13.
            batch = tf.cast(tf.shape(inputs)[0], outputs.dtype)
            loss = self.activity_regularizer(outputs) / batch
        if tf.executing_eagerly():
            self._records.activity_losses.clear()  # those of the last call only
        self._add_loss(self._records.activity_losses, loss)

    def _add_loss(self, losses: list[Any], loss: Any) -> None:
        if not _eager_outside():
            loss = loss() if callable(loss) else loss
            if loss is not None:
                _v1.add_to_collection(_v1.GraphKeys.REGULARIZATION_LOSSES, loss)
        if loss is not None:
            losses.append(loss)

    def _set_scope(self, scope: Any) -> None:
        if self._scope is not None:
            return
        open_scope = (
            functools.partial(_v1.variable_scope, scope or self._base_name)
            if self._reuse
            else functools.partial(_v1.variable_scope, scope, default_name=self._base_name)
        )
        with open_scope() as captured:
            self._scope = captured


def _unique_name(base: str) -> str:
    counts = _counts.setdefault(_v1.get_default_graph(), {})
    counts[base] = counts.get(base, 0) + 1
    return f"{base}_{counts[base]}"


def _eager_outside() -> bool:
    """True where variables are those of eager mode: there are no collections then."""
    return bool(_v1.executing_eagerly_outside_functions())

"""Which rows of README's table oneDNN has a forward primitive for: prints row and yes or no.

Runs in the environment that `make bench-peers` makes, from the root of the tree.
"""

import ctypes

from benchmarks.peers import UnsupportedError, onednn

_FORWARD_INFERENCE, _PLAIN, _RELU, _LENGTH, _TAPS = 96, 2, 0x20, 5, 3
_CHANNELS = 4


def tensor(library, dtype, rank, length, first):
    """One example of 4 channels, channels last unless `first`."""
    points = length**rank
    inner = [length ** (rank - 1 - axis) for axis in range(rank)]
    steps = [points, *inner] if first else [1, *(_CHANNELS * step for step in inner)]
    return library.description(
        [1, _CHANNELS, *[length] * rank], dtype, [_CHANNELS * points, *steps]
    )


def create(
    library,
    dtype="float32",
    rank=2,
    groups=1,
    dilation=1,
    pads=(1, 1),
    first=False,
    attributes=None,
):
    """The description of a primitive; UnsupportedError if oneDNN has none."""
    dims = onednn._Dims
    length = (_LENGTH - 1) * 2 + (_TAPS - 1) * dilation + 1 - sum(pads)
    part = _CHANNELS // groups
    shape = [groups, part, part] if groups > 1 else [_CHANNELS, _CHANNELS]
    bias = library.handle(
        "dnnl_memory_desc_create_with_tag", 1, dims(_CHANNELS), onednn._TYPES[dtype], _PLAIN
    )
    library.handle(
        "dnnl_deconvolution_forward_primitive_desc_create",
        library.engine,
        _FORWARD_INFERENCE,
        onednn._DIRECT,
        tensor(library, dtype, rank, _LENGTH, first),
        library.description([*shape, *[_TAPS] * rank], dtype, None),
        bias,
        tensor(library, dtype, rank, length, first),
        *(dims(*[value] * rank) for value in (2, dilation - 1, *pads)),
        attributes,
    )


def with_activation(library):
    """Bias, and ReLU as a post-op."""
    attributes = library.handle("dnnl_primitive_attr_create")
    steps = library.handle("dnnl_post_ops_create")
    zero = ctypes.c_float(0)
    append = library.library.dnnl_post_ops_append_eltwise
    library.check("append", append(steps, _RELU, zero, zero))
    library.check("set", library.library.dnnl_primitive_attr_set_post_ops(attributes, steps))
    create(library, attributes=attributes)


def each(library, *calls):
    """Several primitives."""
    for call in calls:
        create(library, **call)


ROWS = {
    "1 to 3 spatial axes": lambda o: each(o, *({"rank": n} for n in (1, 2, 3))),
    "4 to 6 spatial axes": lambda o: create(o, rank=4),
    "half": lambda o: create(o, dtype="float16"),
    "bfloat16, float32": lambda o: each(o, {"dtype": "bfloat16"}, {"dtype": "float32"}),
    "float64": lambda o: create(o, dtype="float64"),
    "int32, 3-D": lambda o: create(o, dtype="int32", rank=3),
    "channels first": lambda o: create(o, first=True),
    "dilations > 1": lambda o: create(o, dilation=2),
    "groups > 1": lambda o: create(o, groups=2),
    "padding of two different ends, 2-D": lambda o: create(o, pads=(1, 0)),
    "padding of two different ends, 1-D and 3-D": lambda o: each(
        o, {"rank": 1, "pads": (1, 0)}, {"rank": 3, "pads": (1, 0)}
    ),
    "bias and activation in the op": with_activation,
}


def main():
    """One line per row."""
    onednn._TYPES["int32"] = 4  # dnnl_s32
    library = onednn._Library()
    for row, call in ROWS.items():
        try:
            call(library)
        except UnsupportedError:
            print(row, "no", sep="\t")
        else:
            print(row, "yes", sep="\t")


if __name__ == "__main__":
    main()

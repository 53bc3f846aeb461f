"""The output of Keras' transposed convolutions by definition, from their documented lengths."""

import oracle


def length(n, k, s, d, padding, p):
    """Keras' output length; parity.md."""
    k = (k - 1) * d + 1
    if padding == "same":
        return n * s if p is None else (n - 1) * s + k % 2 + p
    return (n - 1) * s + (max(k, s) if p is None else k + p)


def expected(x, kernel, strides, padding, output_padding, channels_first, dilations, groups=1):
    """(exact, bound) in float64; None where no convolution maps the lengths back."""
    rank = x.ndim - 2
    spatial = x.shape[2:] if channels_first else x.shape[1:-1]
    spatial = [
        length(n, k, s, d, padding, output_padding)
        for n, k, s, d in zip(spatial, kernel.shape[:rank], strides, dilations, strict=True)
    ]
    channels = kernel.shape[-2] * groups
    place = [x.shape[0], channels, *spatial] if channels_first else [x.shape[0], *spatial, channels]
    case = oracle.Case(
        input_shape=list(x.shape),
        filter_shape=list(kernel.shape),
        output_shape=place,
        strides=list(strides),
        dilations=list(dilations),
        padding=padding.upper(),
        groups=groups,
        channels_first=channels_first,
    )
    try:
        return oracle.expected(case, x, kernel)
    except ValueError:
        return None


def operands(rng, rank, k, channels_first, cin=3, cout=2, groups=1):
    """Input and kernel with lengths that differ per axis, not symmetric."""
    spatial = [4 + a for a in range(rank)]
    shape = [2, cin, *spatial] if channels_first else [2, *spatial, cin]
    x = rng.standard_normal(shape).astype("f")
    kernel = rng.standard_normal([*[k] * rank, cout // groups, cin]).astype("f")
    return x, kernel

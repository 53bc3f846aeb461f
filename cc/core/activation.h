// The activations that are fused into the one store of the output.
#ifndef CONV_TRANSPOSE_ND_CORE_ACTIVATION_H_
#define CONV_TRANSPOSE_ND_CORE_ACTIVATION_H_

#include <cmath>
#include <string>
#include <type_traits>

namespace conv_transpose_nd {

enum class Activation {
  kNone,
  kRelu,
  kRelu6,
  kLeakyRelu,
  kElu,
  kGelu,
  kGeluTanh,
  kSigmoid,
  kTanh,
  kSilu,
};

// Slope of leaky_relu below zero: the default of tf.nn.leaky_relu.
inline constexpr double kLeakyReluSlope = 0.2;

// The name of an activation in the ops' attribute.
inline const char* ActivationName(Activation activation) {
  static constexpr const char* kNames[] = {
      "none", "relu",      "relu6",   "leaky_relu", "elu",
      "gelu", "gelu_tanh", "sigmoid", "tanh",       "silu"};
  return kNames[static_cast<int>(activation)];
}

// False when `name` is the name of no activation.
inline bool ParseActivation(const std::string& name, Activation* activation) {
  for (int i = 0; i <= static_cast<int>(Activation::kSilu); ++i) {
    if (name == ActivationName(static_cast<Activation>(i))) {
      *activation = static_cast<Activation>(i);
      return true;
    }
  }
  return false;
}

// Applies `activation` to one accumulated value. Integers know 'none', 'relu'
// and 'relu6' only (ResolveGeometry rejects the rest). relu keeps NaN, as
// tf.nn.relu does.
template <typename A>
inline A Activate(Activation activation, A z) {
  switch (activation) {
    case Activation::kNone:
      return z;
    case Activation::kRelu:
      return z < A(0) ? A(0) : z;
    case Activation::kRelu6:
      return z < A(0) ? A(0) : (z > A(6) ? A(6) : z);
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<A>) {
    switch (activation) {
      case Activation::kLeakyRelu:
        return z < A(0) ? z * A(kLeakyReluSlope) : z;
      case Activation::kElu:
        return z < A(0) ? std::expm1(z) : z;
      case Activation::kGelu:
        return A(0.5) * z * (A(1) + std::erf(z * A(0.70710678118654752440)));
      case Activation::kGeluTanh:
        return A(0.5) * z *
               (A(1) + std::tanh(A(0.79788456080286535588) *
                                 (z + A(0.044715) * z * z * z)));
      case Activation::kSigmoid:
        return A(1) / (A(1) + std::exp(-z));
      case Activation::kTanh:
        return std::tanh(z);
      case Activation::kSilu:
        return z / (A(1) + std::exp(-z));
      default:
        break;
    }
  }
  return z;
}

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_ACTIVATION_H_

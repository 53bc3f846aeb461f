// How far minimal filtering may be from the definition, from the matrices of
// its transforms.
#ifndef CONV_TRANSPOSE_ND_TESTS_TESTING_WINOGRAD_ERROR_H_
#define CONV_TRANSPOSE_ND_TESTS_TESTING_WINOGRAD_ERROR_H_

#include "cc/core/plan.h"

namespace conv_transpose_nd {
namespace testing {

// Along an axis, a tile of results y comes from source positions d and taps g:
//
//   y = A sum over classes and depth of (G g) . (B d)
//
// The components of all n = classes * depth pairs are added up before the one
// transform back. Each addition, product and halving rounds by a factor of at
// most 1 + u, u the unit roundoff. A term of y passes at most b of them in B,
// g in G, one product and n - 1 additions, and a in A, whatever their order:
//
//   |error of y| <= (n + r) u |A| sum of (|G| |g|) . (|B| |d|) + O(u^2)
//
// with r = a + b + g (Barabasz et al., arXiv:1803.10986, theorem 1, for one
// class). With |g| <= max |w| and |d| <= max |x| each of the n pairs adds at
// most growth max |w| max |x| to that sum; a class that lacks taps adds less.
// Below the smallest normal number a halved tap is off by the spacing there,
// not by a factor: that much for each pair, times max |d|, comes on top. In N
// dimensions the matrices are Kronecker products: growths multiply, r adds up,
// and the classes are those of all axes.
//
//   |error of y| <= (n + r) u n growth max |w| max |x|
//
// A filter gradient passes the same matrices the other way: dg = G' sum over n
// tiles of (A' dy) . (B d). Its growth is that of the transposed matrices, and
// max |dy| stands for max |w|.
//
// As for direct sums (Tolerance in expected.h), n roundings of random sign walk
// no further than a constant: 16 stands for the first n.
struct WinogradError {
  // Largest over the phases of the product over the axes of
  //   max_o sum_c |A_oc| (sum_k |G_ck|) (sum_s |B_cs|).
  // Direct sums have the number of taps in its place. Of a filter gradient:
  //   max_k sum_c |G_ck| (sum_o |A_oc|) (sum_s |B_cs|).
  double growth = 1;
  // r: per axis one less than the longest row of each matrix.
  double roundings = 0;
  // Largest over the phases of the product over the axes. A filter gradient
  // has each class by itself.
  double classes = 1;
};

// plan.family must be kWinograd.
WinogradError ErrorOf(const Plan& plan);

}  // namespace testing
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_TESTING_WINOGRAD_ERROR_H_

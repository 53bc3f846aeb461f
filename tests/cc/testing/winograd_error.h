// How far minimal filtering may be from the definition, from the matrices of
// its transforms.
#ifndef CONV_TRANSPOSE_ND_TESTS_TESTING_WINOGRAD_ERROR_H_
#define CONV_TRANSPOSE_ND_TESTS_TESTING_WINOGRAD_ERROR_H_

#include "cc/core/plan.h"

namespace conv_transpose_nd {
namespace testing {

// Along an axis a tile is y = A ((G g) . (B d)): g the taps, d the source
// positions, y the results. Rounding every addition and product of it gives
//   |error of y| <= (terms + roundings) u |A| ((|G| |g|) . (|B| |d|)),
// u the unit roundoff (Barabasz et al., arXiv:1803.10986, theorem 1, whose
// derivation holds for any order of the additions). In N dimensions the
// matrices are Kronecker products. With |g| <= max |w| and |d| <= max |x|:
//   |A| ((|G| |g|) . (|B| |d|)) <= growth max |w| max |x| per channel.
struct WinogradError {
  // Largest over the phases of the product over the axes of
  //   max_o sum_c |A_oc| (sum_k |G_ck|) (sum_s |B_cs|).
  // Direct sums have the number of taps in its place.
  double growth = 1;
  // Additions that a value passes in the three transforms, at most: per axis
  // one less than the longest row of each matrix.
  double roundings = 0;
};

// plan.family must be kWinograd.
WinogradError ErrorOf(const Plan& plan);

}  // namespace testing
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_TESTING_WINOGRAD_ERROR_H_

// Layer normalisation of float32 rows and its gradients, called by XLA through its foreign function interface.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "blocks.h"
#include "clones.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int kLanes = 16;
constexpr int64_t kBlock = 64;  // rows of a thread's task

float Sum(const float (&lanes)[kLanes]) {
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  return static_cast<float>(sum);
}

// Calls function(element, lane) for each element of a row. Elements of different lanes may be computed at the same time.
template <class Function>
inline __attribute__((always_inline)) void ForEach(int64_t width, const Function& function) {
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) function(i + lane, lane);
  }
  for (; i < width; ++i) function(i, 0);
}

JAXOPT_BENCH_CLONES void NormalizeRows(int64_t rows, int64_t width, float epsilon, const float* __restrict x,
                                       const float* __restrict scale, const float* __restrict bias,
                                       float* __restrict result, float* __restrict means, float* __restrict inverses) {
  for (int64_t row = 0; row < rows; ++row, x += width, result += width) {
    float sums[kLanes] = {}, squares[kLanes] = {};
    ForEach(width, [&](int64_t i, int lane) __attribute__((always_inline)) { sums[lane] += x[i]; });
    const float mean = Sum(sums) / width;
    ForEach(width, [&](int64_t i, int lane) __attribute__((always_inline)) {
      squares[lane] += (x[i] - mean) * (x[i] - mean);
    });
    const float inverse = 1 / std::sqrt(Sum(squares) / width + epsilon);
    ForEach(width, [&](int64_t i, int) __attribute__((always_inline)) {
      result[i] = (x[i] - mean) * inverse * scale[i] + bias[i];
    });
    means[row] = mean;
    inverses[row] = inverse;
  }
}

// Adds the contributions of the rows to the gradients of scale and bias.
JAXOPT_BENCH_CLONES void DifferentiateRows(int64_t rows, int64_t width, const float* __restrict x,
                                           const float* __restrict scale, const float* __restrict means,
                                           const float* __restrict inverses, const float* __restrict cotangent,
                                           float* __restrict of_x, float* __restrict of_scale,
                                           float* __restrict of_bias) {
  for (int64_t row = 0; row < rows; ++row, x += width, cotangent += width, of_x += width) {
    const float mean = means[row], inverse = inverses[row];
    float sums[kLanes] = {}, products[kLanes] = {};
    ForEach(width, [&](int64_t i, int lane) __attribute__((always_inline)) {
      const float normalized = (x[i] - mean) * inverse, scaled = cotangent[i] * scale[i];
      of_scale[i] += cotangent[i] * normalized;
      of_bias[i] += cotangent[i];
      sums[lane] += scaled;
      products[lane] += scaled * normalized;
    });
    const float sum = Sum(sums) / width, product = Sum(products) / width;
    ForEach(width, [&](int64_t i, int) __attribute__((always_inline)) {
      of_x[i] = inverse * (cotangent[i] * scale[i] - sum - (x[i] - mean) * inverse * product);
    });
  }
}

using F32 = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;

ffi::Error Normalize(ffi::ThreadPool pool, F32 x, F32 scale, F32 bias, Result result, Result means, Result inverses,
                     float epsilon) {
  const int64_t width = x.dimensions()[1];
  jaxopt_bench::ForBlocks(pool, x.dimensions()[0], kBlock, [&](int64_t row, int64_t rows, int64_t) {
    NormalizeRows(rows, width, epsilon, x.typed_data() + row * width, scale.typed_data(), bias.typed_data(),
                  result->typed_data() + row * width, means->typed_data() + row, inverses->typed_data() + row);
  });
  return ffi::Error::Success();
}

ffi::Error Differentiate(ffi::ThreadPool pool, F32 x, F32 scale, F32 means, F32 inverses, F32 cotangent, Result of_x,
                         Result of_scale, Result of_bias) {
  const int64_t rows = x.dimensions()[0], width = x.dimensions()[1];
  const std::vector<double> totals = jaxopt_bench::SumOverBlocks(
      pool, rows, kBlock, 2 * width, [&](int64_t row, int64_t count, float* own) {
        DifferentiateRows(count, width, x.typed_data() + row * width, scale.typed_data(), means.typed_data() + row,
                          inverses.typed_data() + row, cotangent.typed_data() + row * width,
                          of_x->typed_data() + row * width, own, own + width);
      });
  std::copy_n(totals.begin(), width, of_scale->typed_data());
  std::copy_n(totals.begin() + width, width, of_bias->typed_data());
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxopt_bench_layer_norm, Normalize,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F32>()
                                  .Arg<F32>()
                                  .Arg<F32>()
                                  .Ret<F32>()
                                  .Ret<F32>()
                                  .Ret<F32>()
                                  .Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxopt_bench_layer_norm_gradient, Differentiate,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F32>()
                                  .Arg<F32>()
                                  .Arg<F32>()
                                  .Arg<F32>()
                                  .Arg<F32>()
                                  .Ret<F32>()
                                  .Ret<F32>()
                                  .Ret<F32>());

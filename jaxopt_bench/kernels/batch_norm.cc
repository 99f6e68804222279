// The sums over rows that batch normalisation and its gradients need, called by XLA through its foreign function interface.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "blocks.h"
#include "clones.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t kWidest = 128;            // elements of a row that several short rows are joined to
constexpr int64_t kBlock = int64_t{1} << 15;  // elements of a thread's task

// Adds each row of `first`, and of first · (second − shift), to the sums.
JAXOPT_BENCH_CLONES void AddRows(int64_t rows, int64_t width, const float* __restrict first,
                                 const float* __restrict second, const float* __restrict shift, float* __restrict sums,
                                 float* __restrict products) {
  for (int64_t row = 0; row < rows; ++row, first += width, second += width) {
    for (int64_t i = 0; i < width; ++i) {
      sums[i] += first[i];
      products[i] += first[i] * (second[i] - shift[i]);
    }
  }
}

using F32 = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;

ffi::Error Sum(ffi::ThreadPool pool, F32 first, F32 second, F32 shift, Result sums, Result products) {
  const int64_t channels = first.dimensions()[1];
  int64_t rows = first.dimensions()[0], width = channels;
  while (rows % 2 == 0 && 2 * width <= kWidest) rows /= 2, width *= 2;
  std::vector<float> shifts(width);
  for (int64_t i = 0; i < width; ++i) shifts[i] = shift.typed_data()[i % channels];
  const std::vector<double> found = jaxopt_bench::SumOverBlocks(
      pool, rows, std::max<int64_t>(1, kBlock / width), 2 * width, [&](int64_t row, int64_t count, float* own) {
        AddRows(count, width, first.typed_data() + row * width, second.typed_data() + row * width, shifts.data(), own,
                own + width);
      });
  std::vector<double> totals(2 * channels);
  for (int64_t i = 0; i < 2 * width; ++i) totals[i % channels + i / width * channels] += found[i];
  std::copy_n(totals.begin(), channels, sums->typed_data());
  std::copy_n(totals.begin() + channels, channels, products->typed_data());
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    jaxopt_bench_batch_norm_sums, Sum,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<F32>().Arg<F32>().Arg<F32>().Ret<F32>().Ret<F32>());

// Computes blocks of rows in the threads of XLA, for functions that XLA calls.

#ifndef JAXOPT_BENCH_KERNELS_BLOCKS_H_
#define JAXOPT_BENCH_KERNELS_BLOCKS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace jaxopt_bench {

// Calls job(first row, number of rows, index of the block) for each block. All blocks except the last have `size` rows.
template <class Job>
void ForBlocks(xla::ffi::ThreadPool& pool, int64_t rows, int64_t size, const Job& job) {
  ParallelFor(pool, (rows + size - 1) / size, [&](int64_t block) {
    job(block * size, std::min(size, rows - block * size), block);
  });
}

// Returns `count` sums over all rows. job(first row, number of rows, sums) adds those of a block to float32 zeros. The sums
// of the blocks are added in float64, in the same order for any number of threads.
template <class Job>
std::vector<double> SumOverBlocks(xla::ffi::ThreadPool& pool, int64_t rows, int64_t size, int64_t count,
                                  const Job& job) {
  std::vector<float> sums((rows + size - 1) / size * count);
  ForBlocks(pool, rows, size,
            [&](int64_t row, int64_t number, int64_t block) { job(row, number, sums.data() + block * count); });
  std::vector<double> totals(count);
  for (size_t i = 0; i < sums.size(); ++i) totals[i % count] += sums[i];
  return totals;
}

}  // namespace jaxopt_bench

#endif  // JAXOPT_BENCH_KERNELS_BLOCKS_H_

// Divides work among the threads of XLA, for functions that XLA calls. No computation belongs here.

#ifndef JAXOPT_BENCH_KERNELS_PARALLEL_H_
#define JAXOPT_BENCH_KERNELS_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace jaxopt_bench {

// Calls job(0), …, job(count - 1), each once, in any order, and returns when all have returned.
//
// The calling thread works too and waits only for jobs that another thread has begun. So it cannot wait for ever, even if
// all threads of XLA wait for something else.
template <class Job>
void ParallelFor(xla::ffi::ThreadPool& pool, int64_t count, const Job& job) {
  struct Progress {
    std::atomic<int64_t> begun{0}, done{0};
  };
  const auto progress = std::make_shared<Progress>();  // a thread may come after this function has returned
  auto work = [progress, count, &job] {
    for (int64_t index; (index = progress->begun.fetch_add(1)) < count;) {
      job(index);
      progress->done.fetch_add(1, std::memory_order_release);
    }
  };
  for (int64_t helper = std::min(pool.num_threads(), count); helper > 1; --helper) pool.Schedule(decltype(work)(work));
  work();
  while (progress->done.load(std::memory_order_acquire) < count) std::this_thread::yield();
}

}  // namespace jaxopt_bench

#endif  // JAXOPT_BENCH_KERNELS_PARALLEL_H_

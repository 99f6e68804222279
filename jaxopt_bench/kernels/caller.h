// The one thread that calls oneDNN and whatever else uses OpenMP.
//
// Such a call takes all cores, and OpenMP keeps a team of threads for every thread that has ever asked for one, of which
// XLA has many. The threads of this one's team are pinned to processors: one that moves to another's processor makes the
// whole team wait.

#ifndef JAXOPT_BENCH_KERNELS_CALLER_H_
#define JAXOPT_BENCH_KERNELS_CALLER_H_

#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <queue>

class Caller {
 public:
  // Runs the job on the thread. Returns when it is done, and throws what it has thrown.
  void Call(std::function<void()> job);

  // The only one.
  static Caller& Shared();

 private:
  Caller();
  void Loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::queue<std::packaged_task<void()>> waiting_;
};

#endif  // JAXOPT_BENCH_KERNELS_CALLER_H_

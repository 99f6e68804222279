#include "caller.h"

#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

// OpenMP's functions, where oneDNN brings OpenMP along. They are declared here since compilers need not support it.
extern "C" {
__attribute__((weak)) void GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned flags);
__attribute__((weak)) int omp_get_max_threads();
__attribute__((weak)) int omp_get_thread_num();
}

namespace {

#ifdef __linux__
// Gives each thread of the calling thread's OpenMP team a processor of its own, if the team has one thread for each
// processor that this process may use. Smaller teams may share the machine with other processes, which would choose the
// same processors. A user's OMP_PROC_BIND or GOMP_CPU_AFFINITY has precedence.
void PinTeam() {
  if (GOMP_parallel == nullptr || omp_get_max_threads == nullptr || omp_get_thread_num == nullptr) return;
  if (std::getenv("OMP_PROC_BIND") != nullptr || std::getenv("GOMP_CPU_AFFINITY") != nullptr) return;
  cpu_set_t allowed;
  if (sched_getaffinity(getpid(), sizeof allowed, &allowed) != 0) return;
  std::vector<int> processors;
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (CPU_ISSET(processor, &allowed)) processors.push_back(processor);
  }
  const int threads = omp_get_max_threads();
  if (threads < 2 || threads != static_cast<int>(processors.size())) return;
  const auto pin = [](void* data) {
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET((*static_cast<std::vector<int>*>(data))[omp_get_thread_num()], &own);
    sched_setaffinity(0, sizeof own, &own);  // of this thread
  };
  GOMP_parallel(pin, &processors, threads, 0);
}
#else
void PinTeam() {}
#endif

}  // namespace

void Caller::Call(std::function<void()> job) {
  std::packaged_task<void()> task(std::move(job));
  std::future<void> done = task.get_future();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push(std::move(task));
  }
  wake_.notify_one();
  done.get();
}

Caller& Caller::Shared() {
  static auto* caller = new Caller;  // never destroyed: threads may outlive main
  return *caller;
}

Caller::Caller() { std::thread(&Caller::Loop, this).detach(); }

void Caller::Loop() {
  PinTeam();
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [this] { return !waiting_.empty(); });
    auto task = std::move(waiting_.front());
    waiting_.pop();
    lock.unlock();
    task();
  }
}

#include "caller.h"

#include <thread>
#include <utility>

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
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [this] { return !waiting_.empty(); });
    auto task = std::move(waiting_.front());
    waiting_.pop();
    lock.unlock();
    task();
  }
}

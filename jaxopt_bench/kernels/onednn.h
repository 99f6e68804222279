// What all functions share that call oneDNN.

#ifndef JAXOPT_BENCH_KERNELS_ONEDNN_H_
#define JAXOPT_BENCH_KERNELS_ONEDNN_H_

#include <tuple>

#include "dnnl.hpp"

// The processor as oneDNN sees it. Only the thread of Caller uses it.
struct Onednn {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};

  static Onednn& Shared() {
    static auto* shared = new Onednn;  // never destroyed: the thread may outlive main
    return *shared;
  }
};

// oneDNN 3 makes primitive descriptions of their arguments, oneDNN 2 of an operation's description.
template <class Primitive, class... Hint, class... Args>
typename Primitive::primitive_desc Describe(const dnnl::engine& engine, std::tuple<Hint...> hint, Args... args) {
  return std::apply(
      [&](auto&... forward) {
#if DNNL_VERSION_MAJOR >= 3
        return typename Primitive::primitive_desc(engine, args..., forward...);
#else
        return typename Primitive::primitive_desc(typename Primitive::desc(args...), engine, forward...);
#endif
      },
      hint);
}

#endif  // JAXOPT_BENCH_KERNELS_ONEDNN_H_

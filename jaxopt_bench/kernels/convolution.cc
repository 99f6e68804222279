// Two-dimensional convolution of float32 NHWC images by HWIO kernels, and its two gradients, computed by oneDNN and
// called by XLA through its foreign function interface. Nothing else belongs here.

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "caller.h"
#include "dnnl.hpp"
#include "onednn.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using dnnl::memory;
using Dims = memory::dims;

namespace {

enum Pass : int64_t { kForward = 0, kInputGradient = 1, kKernelGradient = 2 };

// A primitive, and how the kernel (or its gradient) is brought into the layout that it wants, where that is another.
struct Plan {
  dnnl::primitive primitive, reorder;
  memory::desc images, kernel, outputs, wanted;
};

struct alignas(64) CacheLine {
  char bytes[64];
};

// What the convolutions share. Only the thread of Caller uses it.
struct State {
  std::map<std::vector<int64_t>, Plan> plans;
  std::vector<CacheLine> reordered;  // one kernel at a time

  static State& Shared() {
    static auto* state = new State;  // never destroyed: the thread may outlive main
    return *state;
  }
};

bool StartsWith(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

// oneDNN 3 computes input gradients as matrix products ("brg…") where oneDNN 2 had a loop of its own ("jit…"), which it
// still has. That loop is the faster one for strided convolutions: up to twice as fast, in the networks of this project,
// with AVX-512.
template <class Describe>
auto DescribeInputGradient(const Dims& strides, Describe describe) {
  const auto first = describe();
  const bool strided = strides[0] > 1 || strides[1] > 1;
  if (!strided || !StartsWith(first.impl_info_str(), "brg")) return first;
  auto other = describe();
  while (StartsWith(other.impl_info_str(), "brg") && other.next_impl()) {
  }
  return StartsWith(other.impl_info_str(), "jit") ? other : first;
}

Plan MakePlan(const dnnl::engine& engine, Pass pass, const Dims& images, const Dims& kernel, const Dims& outputs,
              int64_t groups, const Dims& strides, const Dims& before, const Dims& after) {
  const auto f32 = memory::data_type::f32;
  const auto nhwc = [&](const Dims& dims) {
    return memory::desc({dims[0], dims[3], dims[1], dims[2]}, f32, memory::format_tag::nhwc);
  };
  const int64_t height = kernel[0], width = kernel[1], channels = kernel[2], features = kernel[3];
  const int64_t each = features / groups, row = channels * features;
  const Dims shape = {groups, each, channels, height, width};
  Plan plan;
  plan.images = nhwc(images);
  plan.outputs = nhwc(outputs);
  plan.kernel = memory::desc(shape, f32, Dims{each, 1, features, width * row, row});
  const memory::desc any(shape, f32, memory::format_tag::any);
  const auto direct = dnnl::algorithm::convolution_direct;

  const auto forward = Describe<dnnl::convolution_forward>(
      engine, std::tuple<>(), dnnl::prop_kind::forward_training, direct, plan.images, any, plan.outputs, strides,
      before, after);
  if (pass == kForward) {
    plan.primitive = dnnl::convolution_forward(forward);
    plan.wanted = forward.weights_desc();
  } else if (pass == kInputGradient) {
    const auto made = DescribeInputGradient(strides, [&] {
      return Describe<dnnl::convolution_backward_data>(engine, std::tie(forward), direct, plan.images, any,
                                                       plan.outputs, strides, before, after);
    });
    plan.primitive = dnnl::convolution_backward_data(made);
    plan.wanted = made.weights_desc();
  } else {
    const auto made = Describe<dnnl::convolution_backward_weights>(engine, std::tie(forward), direct, plan.images, any,
                                                                   plan.outputs, strides, before, after);
    plan.primitive = dnnl::convolution_backward_weights(made);
    plan.wanted = made.diff_weights_desc();
  }
  if (plan.wanted != plan.kernel) {
    const auto& from = pass == kKernelGradient ? plan.wanted : plan.kernel;
    const auto& to = pass == kKernelGradient ? plan.kernel : plan.wanted;
    plan.reorder = dnnl::reorder(dnnl::reorder::primitive_desc(engine, from, engine, to));
  }
  return plan;
}

void Run(State& state, Onednn& onednn, Pass pass, const Dims& images, float* images_data, const Dims& kernel,
         float* kernel_data, const Dims& outputs, float* outputs_data, int64_t groups, const Dims& strides,
         const Dims& before, const Dims& after) {
  std::vector<int64_t> key = {pass, groups};
  for (const Dims* dims : {&images, &kernel, &outputs, &strides, &before, &after}) {
    key.insert(key.end(), dims->begin(), dims->end());
  }
  auto found = state.plans.find(key);
  if (found == state.plans.end()) {
    found = state.plans
                .emplace(key, MakePlan(onednn.engine, pass, images, kernel, outputs, groups, strides, before, after))
                .first;
  }
  const Plan& plan = found->second;
  memory given(plan.kernel, onednn.engine, kernel_data), wanted = given;
  if (plan.reorder) {
    const size_t size = plan.wanted.get_size() / sizeof(CacheLine) + 1;
    if (state.reordered.size() < size) state.reordered.resize(size);
    wanted = memory(plan.wanted, onednn.engine, state.reordered.data());
  }
  memory seen(plan.images, onednn.engine, images_data), made(plan.outputs, onednn.engine, outputs_data);
  if (pass == kForward) {
    if (plan.reorder) plan.reorder.execute(onednn.stream, {{DNNL_ARG_FROM, given}, {DNNL_ARG_TO, wanted}});
    plan.primitive.execute(onednn.stream, {{DNNL_ARG_SRC, seen}, {DNNL_ARG_WEIGHTS, wanted}, {DNNL_ARG_DST, made}});
  } else if (pass == kInputGradient) {
    if (plan.reorder) plan.reorder.execute(onednn.stream, {{DNNL_ARG_FROM, given}, {DNNL_ARG_TO, wanted}});
    plan.primitive.execute(onednn.stream,
                           {{DNNL_ARG_DIFF_SRC, seen}, {DNNL_ARG_WEIGHTS, wanted}, {DNNL_ARG_DIFF_DST, made}});
  } else {
    plan.primitive.execute(onednn.stream,
                           {{DNNL_ARG_SRC, seen}, {DNNL_ARG_DIFF_WEIGHTS, wanted}, {DNNL_ARG_DIFF_DST, made}});
    if (plan.reorder) plan.reorder.execute(onednn.stream, {{DNNL_ARG_FROM, wanted}, {DNNL_ARG_TO, given}});
  }
  onednn.stream.wait();
}

using F32 = ffi::Buffer<ffi::F32>;
using Numbers = ffi::Span<const int64_t>;

// The two arguments and the result are those of images, kernel and outputs that the pass reads, in this order, and the
// one that it writes. Padding is top, bottom, left, right.
ffi::Error Convolve(F32 first, F32 second, ffi::Result<F32> result, int64_t of, int64_t groups, Numbers strides,
                    Numbers padding) {
  const auto dims = [](const auto& buffer) {
    const auto found = buffer.dimensions();
    return Dims(found.begin(), found.end());
  };
  std::array<Dims, 3> shapes;
  std::array<float*, 3> data;
  const auto place = [&](int at, const auto& buffer) {
    shapes[at] = dims(buffer);
    data[at] = buffer.typed_data();
  };
  // which of images (0), kernel (1) and outputs (2) is which
  const std::array<int, 3> order = of == kForward         ? std::array<int, 3>{0, 1, 2}
                                   : of == kInputGradient ? std::array<int, 3>{1, 2, 0}
                                                            : std::array<int, 3>{0, 2, 1};
  place(order[0], first);
  place(order[1], second);
  place(order[2], *result);
  try {
    Caller::Shared().Call([&] {
      Run(State::Shared(), Onednn::Shared(), static_cast<Pass>(of), shapes[0], data[0], shapes[1], data[1], shapes[2],
          data[2], groups, {strides[0], strides[1]}, {padding[0], padding[2]}, {padding[1], padding[3]});
    });
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("oneDNN: ") + error.what());
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxopt_bench_convolve, Convolve,
                              ffi::Ffi::Bind()
                                  .Arg<F32>()
                                  .Arg<F32>()
                                  .Ret<F32>()
                                  .Attr<int64_t>("of")
                                  .Attr<int64_t>("groups")
                                  .Attr<Numbers>("strides")
                                  .Attr<Numbers>("padding"));

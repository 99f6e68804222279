// Two-dimensional convolution of float32 NHWC images by HWIO kernels, and its two gradients, computed by oneDNN and
// called by XLA through its foreign function interface. Nothing else belongs here.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
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

// An array that a primitive reads or writes: the number of its argument (DNNL_ARG_…), the layout of XLA (`given`), and
// that of the primitive (`used`). If they differ, `reorder` converts an input from given to used, and the result from
// used to given.
struct Array {
  int argument;
  memory::desc given, used;
  dnnl::primitive reorder;
};

// A primitive and its arrays: the two that it reads, and its result. Forward: images, kernel, outputs. Input gradient:
// kernel, outputs, images. Kernel gradient: images, outputs, kernel.
struct Plan {
  dnnl::primitive primitive;
  std::array<Array, 3> arrays;
};

struct alignas(64) CacheLine {
  char bytes[64];
};

// What the convolutions share. Only the thread of Caller uses it.
struct State {
  std::map<std::vector<int64_t>, Plan> plans;
  std::array<std::vector<CacheLine>, 3> reordered;  // the arrays of one call

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

// Returns whether oneDNN may choose the layout of images and outputs. With AVX-512, it chooses blocks of 16 channels: 16
// channels of all pixels, then the next 16 channels of all pixels. For results with few pixels and many channels, blocks
// are faster than NHWC, even with the time for reordering images and outputs.
//
// The time with blocks divided by that with NHWC, on two cores of an Intel Xeon (model 207), oneDNN 3.2, kernels of 3×3,
// reordering included. Faster: outputs of 4×4 pixels 0.62 to 0.78 (256 to 512 channels, also with stride 2), input
// gradients of 4×4 pixels 0.57 to 0.69; outputs of 7×7 pixels 0.82 to 0.89, their input gradients 0.91 to 0.95 (256 and
// 384 channels). Not faster: 8×8 pixels or more (0.92 to 1.19), fewer channels (0.98 to 1.24), input gradients of strided
// convolutions (1.17 to 1.85), kernel gradients (0.95 to 1.29). Groups, and 1×1 kernels with stride 1, were not measured.
bool UsesBlocks(Pass pass, const Dims& images, const Dims& kernel, const Dims& outputs, int64_t groups,
                const Dims& strides) {
  if (groups > 1 || pass == kKernelGradient || (pass == kInputGradient && strides != Dims{1, 1})) return false;
  const Dims& result = pass == kForward ? outputs : images;
  return result[1] * result[2] < 64 && kernel[0] * kernel[1] > 1 && std::min(kernel[2], kernel[3]) >= 256;
}

memory::desc DescribeImages(const Dims& dims, memory::format_tag tag) {
  return memory::desc({dims[0], dims[3], dims[1], dims[2]}, memory::data_type::f32, tag);
}

Plan MakePlan(const dnnl::engine& engine, Pass pass, const Dims& images, const Dims& kernel, const Dims& outputs,
              int64_t groups, const Dims& strides, const Dims& before, const Dims& after) {
  const int64_t height = kernel[0], width = kernel[1], channels = kernel[2], features = kernel[3];
  const int64_t each = features / groups, row = channels * features;
  const Dims shape = {groups, each, channels, height, width};
  const auto f32 = memory::data_type::f32;
  const auto nhwc = memory::format_tag::nhwc, any = memory::format_tag::any;
  const memory::desc given_images = DescribeImages(images, nhwc), given_outputs = DescribeImages(outputs, nhwc),
                     given_kernel(shape, f32, Dims{each, 1, features, width * row, row});
  const auto layout = UsesBlocks(pass, images, kernel, outputs, groups, strides) ? any : nhwc;
  const memory::desc used_images = DescribeImages(images, layout), used_outputs = DescribeImages(outputs, layout),
                     any_kernel(shape, f32, any);
  const auto direct = dnnl::algorithm::convolution_direct;

  Plan plan;
  const auto forward = Describe<dnnl::convolution_forward>(
      engine, std::tuple<>(), dnnl::prop_kind::forward_training, direct, used_images, any_kernel, used_outputs, strides,
      before, after);
  if (pass == kForward) {
    plan.primitive = dnnl::convolution_forward(forward);
    plan.arrays = {Array{DNNL_ARG_SRC, given_images, forward.src_desc(), {}},
                   Array{DNNL_ARG_WEIGHTS, given_kernel, forward.weights_desc(), {}},
                   Array{DNNL_ARG_DST, given_outputs, forward.dst_desc(), {}}};
  } else if (pass == kInputGradient) {
    const auto made = DescribeInputGradient(strides, [&] {
      return Describe<dnnl::convolution_backward_data>(engine, std::tie(forward), direct, used_images, any_kernel,
                                                       used_outputs, strides, before, after);
    });
    plan.primitive = dnnl::convolution_backward_data(made);
    plan.arrays = {Array{DNNL_ARG_WEIGHTS, given_kernel, made.weights_desc(), {}},
                   Array{DNNL_ARG_DIFF_DST, given_outputs, made.diff_dst_desc(), {}},
                   Array{DNNL_ARG_DIFF_SRC, given_images, made.diff_src_desc(), {}}};
  } else {
    const auto made = Describe<dnnl::convolution_backward_weights>(engine, std::tie(forward), direct, used_images,
                                                                   any_kernel, used_outputs, strides, before, after);
    plan.primitive = dnnl::convolution_backward_weights(made);
    plan.arrays = {Array{DNNL_ARG_SRC, given_images, made.src_desc(), {}},
                   Array{DNNL_ARG_DIFF_DST, given_outputs, made.diff_dst_desc(), {}},
                   Array{DNNL_ARG_DIFF_WEIGHTS, given_kernel, made.diff_weights_desc(), {}}};
  }
  for (Array& array : plan.arrays) {
    if (array.used == array.given) continue;
    const bool result = &array == &plan.arrays.back();
    const auto &from = result ? array.used : array.given, &to = result ? array.given : array.used;
    array.reorder = dnnl::reorder(dnnl::reorder::primitive_desc(engine, from, engine, to));
  }
  return plan;
}

void Execute(State& state, Onednn& onednn, const Plan& plan, const std::array<float*, 3>& data) {
  std::array<memory, 3> given, used;
  std::unordered_map<int, memory> arguments;
  for (size_t i = 0; i < data.size(); ++i) {
    const Array& array = plan.arrays[i];
    given[i] = used[i] = memory(array.given, onednn.engine, data[i]);
    if (array.reorder) {
      std::vector<CacheLine>& buffer = state.reordered[i];
      buffer.resize(std::max(buffer.size(), array.used.get_size() / sizeof(CacheLine) + 1));
      used[i] = memory(array.used, onednn.engine, buffer.data());
    }
    arguments.emplace(array.argument, used[i]);
  }
  const auto reorder = [&](size_t i, const memory& from, const memory& to) {
    if (plan.arrays[i].reorder) {
      plan.arrays[i].reorder.execute(onednn.stream, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
    }
  };
  reorder(0, given[0], used[0]);
  reorder(1, given[1], used[1]);
  plan.primitive.execute(onednn.stream, arguments);
  reorder(2, used[2], given[2]);
  onednn.stream.wait();
}

using F32 = ffi::Buffer<ffi::F32>;
using Numbers = ffi::Span<const int64_t>;

// The two arguments and the result have the order of the arrays of `Plan`. Padding is top, bottom, left, right.
ffi::Error Convolve(F32 first, F32 second, ffi::Result<F32> result, int64_t of, int64_t groups, Numbers strides,
                    Numbers padding) {
  const auto dims = [](const auto& buffer) {
    const auto found = buffer.dimensions();
    return Dims(found.begin(), found.end());
  };
  const std::array<Dims, 3> shapes = {dims(first), dims(second), dims(*result)};
  const std::array<float*, 3> data = {first.typed_data(), second.typed_data(), result->typed_data()};
  // the positions of images, kernel and outputs
  const std::array<int, 3> places = of == kForward         ? std::array<int, 3>{0, 1, 2}
                                    : of == kInputGradient ? std::array<int, 3>{2, 0, 1}
                                                           : std::array<int, 3>{0, 2, 1};
  std::vector<int64_t> key = {of, groups};
  for (const Dims& shape : shapes) key.insert(key.end(), shape.begin(), shape.end());
  key.insert(key.end(), strides.begin(), strides.end());
  key.insert(key.end(), padding.begin(), padding.end());
  try {
    Caller::Shared().Call([&] {
      State& state = State::Shared();
      Onednn& onednn = Onednn::Shared();
      auto found = state.plans.find(key);
      if (found == state.plans.end()) {
        found = state.plans
                    .emplace(key, MakePlan(onednn.engine, static_cast<Pass>(of), shapes[places[0]], shapes[places[1]],
                                           shapes[places[2]], groups, {strides[0], strides[1]},
                                           {padding[0], padding[2]}, {padding[1], padding[3]}))
                    .first;
      }
      Execute(state, onednn, found->second, data);
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

// Products of float32 matrices, computed by oneDNN and called by XLA through its foreign function interface.

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "caller.h"
#include "dnnl.hpp"
#include "onednn.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using dnnl::memory;

namespace {

void Check(dnnl_status_t status) { dnnl::error::wrap_c_api(status, "could not multiply"); }

// Computes first · second, or firstᵀ · second.
void MultiplyByGemm(int64_t rows, int64_t columns, int64_t length, bool first_transposed, const float* first,
                    const float* second, float* result) {
  Check(dnnl_sgemm(first_transposed ? 'T' : 'N', 'N', rows, columns, length, 1, first,
                   first_transposed ? rows : length, second, columns, 0, result, columns));
}

// The sizes and the strides of an array.
struct Layout {
  memory::dims sizes, strides;

  Layout Transposed() const {  // in the last two dimensions
    Layout other = *this;
    const size_t last = sizes.size() - 1;
    std::swap(other.sizes[last], other.sizes[last - 1]);
    std::swap(other.strides[last], other.strides[last - 1]);
    return other;
  }
};

Layout Matrix(int64_t rows, int64_t columns) { return {{rows, columns}, {columns, 1}}; }

// Computes the products of all pairs of matrices. Only the thread of Caller runs it.
void MultiplyByPrimitive(const Layout& first, const Layout& second, const Layout& result, float* first_data,
                         float* second_data, float* result_data) {
  struct Plan {
    dnnl::matmul primitive;
    memory::desc first, second, result;
  };
  using Key = std::array<memory::dims, 6>;
  static auto* plans = new std::map<Key, Plan>;  // never destroyed: the thread may outlive main
  Onednn& onednn = Onednn::Shared();
  const Key key = {first.sizes, first.strides, second.sizes, second.strides, result.sizes, result.strides};
  auto found = plans->find(key);
  if (found == plans->end()) {
    const auto describe = [](const Layout& layout) {
      return memory::desc(layout.sizes, memory::data_type::f32, layout.strides);
    };
    const memory::desc one = describe(first), other = describe(second), made = describe(result);
    const dnnl::matmul primitive(Describe<dnnl::matmul>(onednn.engine, std::tuple<>(), one, other, made));
    found = plans->emplace(key, Plan{primitive, one, other, made}).first;
  }
  const Plan& plan = found->second;
  plan.primitive.execute(onednn.stream, {{DNNL_ARG_SRC, memory(plan.first, onednn.engine, first_data)},
                                         {DNNL_ARG_WEIGHTS, memory(plan.second, onednn.engine, second_data)},
                                         {DNNL_ARG_DST, memory(plan.result, onednn.engine, result_data)}});
  onednn.stream.wait();
}

using F32 = ffi::Buffer<ffi::F32>;

// Which of the two matrices is stored transposed: none, the first, or the second.
enum Transposed : int64_t { kNone = 0, kFirst = 1, kSecond = 2 };

// Runs the job on the thread of Caller.
ffi::Error Run(std::function<void()> job) {
  try {
    Caller::Shared().Call(std::move(job));
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("oneDNN: ") + error.what());
  }
  return ffi::Error::Success();
}

ffi::Error Multiply(F32 first, F32 second, ffi::Result<F32> result, int64_t transposed) {
  const int64_t rows = result->dimensions()[0], columns = result->dimensions()[1];
  const int64_t length = first.dimensions()[transposed == kFirst ? 0 : 1];
  return Run([&] {
    if (transposed == kSecond) {  // for which the primitive is up to twice as fast as `dnnl_sgemm`
      MultiplyByPrimitive(Matrix(rows, length), Matrix(columns, length).Transposed(), Matrix(rows, columns),
                          first.typed_data(), second.typed_data(), result->typed_data());
    } else {
      MultiplyByGemm(rows, columns, length, transposed == kFirst, first.typed_data(), second.typed_data(),
                     result->typed_data());
    }
  });
}

// A matrix for each example and head: of [batch, tokens, heads, features], one row for each token.
Layout Heads(ffi::AnyBuffer::Dimensions array) {
  const int64_t batch = array[0], tokens = array[1], heads = array[2], features = array[3];
  return {{batch, heads, tokens, features}, {tokens * heads * features, features, heads * features, 1}};
}

// A matrix for each example and head: of [batch, heads, queries, keys], one row for each query.
Layout Scores(ffi::AnyBuffer::Dimensions array) {
  const int64_t batch = array[0], heads = array[1], queries = array[2], keys = array[3];
  return {{batch, heads, queries, keys}, {heads * queries * keys, queries * keys, keys, 1}};
}

// The products of attention: first · secondᵀ of heads; scores · second; scoresᵀ · second.
enum Attention : int64_t { kScores = 0, kAttended = 1, kTransposed = 2 };

ffi::Error Attend(F32 first, F32 second, ffi::Result<F32> result, int64_t which) {
  return Run([&] {
    const Layout other = Heads(second.dimensions());
    float *const one_data = first.typed_data(), *const other_data = second.typed_data();
    if (which == kScores) {
      MultiplyByPrimitive(Heads(first.dimensions()), other.Transposed(), Scores(result->dimensions()), one_data,
                          other_data, result->typed_data());
    } else {
      const Layout scores = Scores(first.dimensions());
      MultiplyByPrimitive(which == kTransposed ? scores.Transposed() : scores, other, Heads(result->dimensions()),
                          one_data, other_data, result->typed_data());
    }
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxopt_bench_multiply, Multiply,
                              ffi::Ffi::Bind().Arg<F32>().Arg<F32>().Ret<F32>().Attr<int64_t>("transposed"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxopt_bench_attend, Attend,
                              ffi::Ffi::Bind().Arg<F32>().Arg<F32>().Ret<F32>().Attr<int64_t>("which"));

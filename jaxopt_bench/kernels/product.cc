// Products of float32 matrices, computed by oneDNN and called by XLA through its foreign function interface.

#include <array>
#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <tuple>

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

// Computes first · secondᵀ, for which the primitive is up to twice as fast as `dnnl_sgemm`. Only the thread of Caller runs
// it.
void MultiplyByPrimitive(int64_t rows, int64_t columns, int64_t length, float* first, float* second, float* result) {
  struct Plan {
    dnnl::matmul primitive;
    memory::desc first, second, result;
  };
  static auto* plans = new std::map<std::array<int64_t, 3>, Plan>;  // never destroyed: the thread may outlive main
  Onednn& onednn = Onednn::Shared();
  auto found = plans->find({rows, columns, length});
  if (found == plans->end()) {
    const auto f32 = memory::data_type::f32;
    const memory::desc one({rows, length}, f32, memory::dims{length, 1});
    const memory::desc other({length, columns}, f32, memory::dims{1, length});
    const memory::desc made({rows, columns}, f32, memory::dims{columns, 1});
    const dnnl::matmul primitive(Describe<dnnl::matmul>(onednn.engine, std::tuple<>(), one, other, made));
    found = plans->emplace(std::array<int64_t, 3>{rows, columns, length}, Plan{primitive, one, other, made}).first;
  }
  const Plan& plan = found->second;
  plan.primitive.execute(onednn.stream, {{DNNL_ARG_SRC, memory(plan.first, onednn.engine, first)},
                                         {DNNL_ARG_WEIGHTS, memory(plan.second, onednn.engine, second)},
                                         {DNNL_ARG_DST, memory(plan.result, onednn.engine, result)}});
  onednn.stream.wait();
}

using F32 = ffi::Buffer<ffi::F32>;

// Which of the two matrices is stored transposed: none, the first, or the second.
enum Transposed : int64_t { kNone = 0, kFirst = 1, kSecond = 2 };

ffi::Error Multiply(F32 first, F32 second, ffi::Result<F32> result, int64_t transposed) {
  const int64_t rows = result->dimensions()[0], columns = result->dimensions()[1];
  const int64_t length = first.dimensions()[transposed == kFirst ? 0 : 1];
  try {
    Caller::Shared().Call([&] {
      if (transposed == kSecond) {
        MultiplyByPrimitive(rows, columns, length, first.typed_data(), second.typed_data(), result->typed_data());
      } else {
        MultiplyByGemm(rows, columns, length, transposed == kFirst, first.typed_data(), second.typed_data(),
                       result->typed_data());
      }
    });
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("oneDNN: ") + error.what());
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxopt_bench_multiply, Multiply,
                              ffi::Ffi::Bind().Arg<F32>().Arg<F32>().Ret<F32>().Attr<int64_t>("transposed"));

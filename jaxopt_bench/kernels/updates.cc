// Updates of all parameters by an optimizer in one pass over memory, called by XLA through its foreign function interface.
// `optimizers/fused.py` says which optimizers, and computes the coefficients.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "clones.h"
#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

enum Rule : int64_t { kSgd = 0, kMomentum = 1, kNesterov = 2, kAdam = 3, kNadam = 4, kAmsgrad = 5 };

constexpr int kMostSlots = 3;

// How many arrays of its own a rule keeps for each array of parameters: a trace; mu and nu; or mu, nu and the largest nu.
constexpr int Slots(int64_t rule) { return rule == kSgd ? 0 : rule < kAdam ? 1 : rule < kAmsgrad ? 2 : kMostSlots; }

// The scalars of an update, in the order in which Python gives them.
struct Coefficients {
  float learning_rate;
  float coupled_decay, decoupled_decay;
  float first, first_complement;    // momentum or b1, and 1 - b1
  float second, second_complement;  // b2 and 1 - b2
  float first_scale, second_scale;  // bias corrections: 1 / (1 - b1^t) and 1 / (1 - b2^t)
  float next_first_scale;           // 1 / (1 - b1^(t + 1)), which Nadam needs
  float eps;
};

// Elements of one array, which one thread updates in place. `old` is where to keep the parameters, if anywhere.
struct Block {
  float* params;
  const float* gradient;
  std::array<float*, kMostSlots> slots;
  float* old;
  int64_t size;
  bool decays;
};

struct Norms {
  double gradient = 0, update = 0;  // squared
};

constexpr int64_t kBlock = 1 << 17;  // elements of a thread's task; with smaller blocks large arrays take longer
constexpr int64_t kChunk = 1 << 12;  // elements whose squares are added in float32
constexpr int kLanes = 16;

// Updates the slots of one element. Returns what is subtracted from the parameter.
template <int64_t rule>
inline float Change(const Coefficients& c, float coupled, float decoupled, float param, float raw, float* first,
                    float* second, float* third) {
  const float gradient = raw + coupled * param;
  float update = gradient;
  if constexpr (rule == kMomentum || rule == kNesterov) {
    *first = gradient + c.first * *first;
    update = rule == kMomentum ? *first : gradient + c.first * *first;
  } else if constexpr (rule >= kAdam) {
    *first = c.first_complement * gradient + c.first * *first;
    *second = c.second_complement * (gradient * gradient) + c.second * *second;
    float numerator = *first * c.first_scale, squared = *second * c.second_scale;
    if constexpr (rule == kNadam) {
      numerator = c.first * (*first * c.next_first_scale) + c.first_complement * (gradient * c.first_scale);
    }
    if constexpr (rule == kAmsgrad) *third = squared = squared <= *third ? *third : squared;
    update = numerator / (std::sqrt(squared) + c.eps);
  }
  return c.learning_rate * (update + decoupled * param);
}

// Updates a block, and returns the squared norms of its gradient and of its update.
template <int64_t rule>
JAXOPT_BENCH_CLONES Norms UpdateBlock(const Coefficients& coefficients, const Block& block) {
  const Coefficients c = coefficients;
  const float coupled = block.decays ? c.coupled_decay : 0, decoupled = block.decays ? c.decoupled_decay : 0;
  float *__restrict params = block.params, *__restrict first = block.slots[0], *__restrict second = block.slots[1],
        *__restrict third = block.slots[2];
  const float* __restrict gradient = block.gradient;
  Norms norms;
  for (int64_t begin = 0; begin < block.size; begin += kChunk) {
    const int64_t end = std::min(begin + kChunk, block.size);
    if (block.old) std::memcpy(block.old + begin, params + begin, (end - begin) * sizeof(float));
    float gradients[kLanes] = {}, changes[kLanes] = {};
    const auto update = [&](int64_t i, int lane) __attribute__((always_inline)) {
      const float change =
          Change<rule>(c, coupled, decoupled, params[i], gradient[i], first + i, second + i, third + i);
      params[i] -= change;
      gradients[lane] += gradient[i] * gradient[i];
      changes[lane] += change * change;
    };
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) update(i + lane, lane);
    }
    for (; i < end; ++i) update(i, 0);
    for (int lane = 0; lane < kLanes; ++lane) {
      norms.gradient += gradients[lane];
      norms.update += changes[lane];
    }
  }
  return norms;
}

using Function = Norms (*)(const Coefficients&, const Block&);

constexpr std::array<Function, 6> kFunctions = {UpdateBlock<kSgd>,  UpdateBlock<kMomentum>, UpdateBlock<kNesterov>,
                                                UpdateBlock<kAdam>, UpdateBlock<kNadam>,    UpdateBlock<kAmsgrad>};

using F32 = ffi::Buffer<ffi::F32>;

// The arrays of one argument or result after another.
class Arrays {
 public:
  Arrays(ffi::RemainingArgs arguments, ffi::RemainingRets results) : arguments_(arguments), results_(results) {}

  // The next argument, which is only read.
  F32 Read() { return arguments_.get<F32>(argument_++).value(); }

  // The next argument, whose memory is that of the next result, too.
  float* Change() {
    const F32 given = Read();
    float* changed = results_.get<F32>(result_++).value()->typed_data();
    if (changed != given.typed_data()) std::memcpy(changed, given.typed_data(), given.size_bytes());
    return changed;
  }

 private:
  ffi::RemainingArgs arguments_;
  ffi::RemainingRets results_;
  size_t argument_ = 0, result_ = 0;
};

// Cuts the arrays into blocks. Where the cuts are depends on nothing but the arrays' sizes, so that norms are always sums
// in the same order.
std::vector<Block> Blocks(Arrays arrays, int64_t rule, ffi::Span<const int64_t> decays, float* old) {
  const size_t count = decays.size();
  std::vector<Block> whole(count), blocks;
  for (Block& block : whole) block.params = arrays.Change();
  for (size_t i = 0; i < count; ++i) {
    const F32 gradient = arrays.Read();
    whole[i].gradient = gradient.typed_data();
    whole[i].size = gradient.element_count();
    whole[i].decays = decays[i];
  }
  for (int slot = 0; slot < Slots(rule); ++slot) {
    for (Block& block : whole) block.slots[slot] = arrays.Change();
  }
  for (const Block& array : whole) {
    for (int64_t begin = 0; begin < array.size; begin += kBlock) {
      Block block = array;
      block.params += begin;
      block.gradient += begin;
      for (int slot = 0; slot < Slots(rule); ++slot) block.slots[slot] += begin;
      block.size = std::min(kBlock, array.size - begin);
      block.old = old;
      if (old) old += block.size;
      blocks.push_back(block);
    }
  }
  return blocks;
}

// Updates parameters and slots where they are. The arguments after the loss are the arrays of parameters, their gradients,
// and the arrays of each slot; the results after `old` are the parameters and the slots.
//
// If `old` is not empty, the parameters are left as they were if the loss or one of the norms is not finite. They are kept
// there meanwhile, since the norms are known only when all are updated.
ffi::Error Update(ffi::ThreadPool pool, F32 coefficients, F32 loss, ffi::RemainingArgs arguments,
                  ffi::ResultBuffer<ffi::F32> norms, ffi::ResultBuffer<ffi::PRED> sound,
                  ffi::ResultBuffer<ffi::F32> old, ffi::RemainingRets results, int64_t rule,
                  ffi::Span<const int64_t> decays) {
  Coefficients given;
  if (coefficients.size_bytes() != sizeof(given) || rule < kSgd || rule > kAmsgrad) {
    return ffi::Error::InvalidArgument("other coefficients or another rule than this library knows");
  }
  std::memcpy(&given, coefficients.typed_data(), sizeof(given));
  const bool keeps = old->element_count() > 0;
  const std::vector<Block> blocks = Blocks({arguments, results}, rule, decays, keeps ? old->typed_data() : nullptr);
  const auto count = static_cast<int64_t>(blocks.size());
  std::vector<Norms> of_blocks(count);
  jaxopt_bench::ParallelFor(pool, count, [&](int64_t i) { of_blocks[i] = kFunctions[rule](given, blocks[i]); });
  Norms total;
  for (const Norms& block : of_blocks) {
    total.gradient += block.gradient;
    total.update += block.update;
  }
  // the squares in float32, in which they overflow as they do in XLA's
  const float gradient = std::sqrt(static_cast<float>(total.gradient));
  const float update = std::sqrt(static_cast<float>(total.update));
  norms->typed_data()[0] = gradient;
  norms->typed_data()[1] = update;
  const bool finite = std::isfinite(*loss.typed_data()) && std::isfinite(gradient) && std::isfinite(update);
  *sound->typed_data() = finite;
  if (keeps && !finite) {
    for (const Block& block : blocks) std::memcpy(block.params, block.old, block.size * sizeof(float));
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxopt_bench_update, Update,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<F32>()
                                  .Arg<F32>()
                                  .RemainingArgs()
                                  .Ret<F32>()
                                  .Ret<ffi::Buffer<ffi::PRED>>()
                                  .Ret<F32>()
                                  .RemainingRets()
                                  .Attr<int64_t>("rule")
                                  .Attr<ffi::Span<const int64_t>>("decays"));

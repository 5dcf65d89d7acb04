// The engine behind XLA's foreign function interface: the handlers that JAX calls.
//
// One handler runs the forward pass, the other one the backward pass, of one layer or of the two
// directions of a bidirectional layer. Integer attributes say which arrays are present and which
// results are wanted, so absent arrays need no operand. The Python side of this contract is
// engine/jax.py.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gatewise.h"
#include "numbers.h"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;

using namespace gatewise;  // of numbers.h

// The attribute `outputs`: no y, one array per layer, or one joined array.
enum Outputs { kNone, kApart, kJoined };  // joined: concatenated on the last axis

using Numbers = ffi::Span<const int64_t>;

// Returns operands or results one after the other; null if one is missing.
template <class Buffers>
class Line {
 public:
  explicit Line(Buffers buffers) : buffers_(buffers) {}

  std::optional<ffi::AnyBuffer> next() {
    if constexpr (std::is_same_v<Buffers, ffi::RemainingArgs>) {
      auto got = buffers_.template get<ffi::AnyBuffer>(place_++);
      if (!got.has_value()) return std::nullopt;
      return *got;
    } else {
      auto got = buffers_.template get<ffi::AnyBuffer>(place_++);
      if (!got.has_value()) return std::nullopt;
      return **got;
    }
  }

  void* data() {
    const auto buffer = next();
    return buffer ? buffer->untyped_data() : nullptr;
  }

  bool at_end() const { return place_ == buffers_.size(); }

 private:
  Buffers buffers_;
  size_t place_ = 0;
};

using Operands = Line<ffi::RemainingArgs>;
using Results = Line<ffi::RemainingRets>;

ffi::Error wrong(const std::string& what) {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "gatewise: " + what);
}

ffi::Error as_error(int32_t status) {
  switch (status) {
    case GATEWISE_DONE:
      return ffi::Error::Success();
    case GATEWISE_NO_MEMORY:
      return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                        "gatewise: there is no memory left for the scratch of an LSTM layer. Use "
                        "a smaller batch or shorter sequences.");
    default:
      return wrong("the LSTM kernels refuse a size, an activation or an array that is missing.");
  }
}

// Reads the arrays of one layer that are present. False: they do not fit each other.
bool take_arrays(gatewise_lstm& layer, Operands& operands, const int64_t* fields) {
  const int64_t present = fields[kArrays];
  const auto x = operands.next();
  if (!x || x->dimensions().size() != 3) return false;
  layer.double_precision = x->element_type() == ffi::F64;
  if (!layer.double_precision && x->element_type() != ffi::F32) return false;
  layer.batch = x->dimensions()[0];
  layer.steps = x->dimensions()[1];
  layer.features = x->dimensions()[2];
  layer.x = x->untyped_data();
  if (present & kMask) layer.mask = static_cast<const uint8_t*>(operands.data());
  if (present & kH0) layer.h0 = operands.data();
  if (present & kC0) layer.c0 = operands.data();
  layer.kernel = operands.data();
  const auto recurrent_kernel = operands.next();
  if (!recurrent_kernel || recurrent_kernel->dimensions().size() != 2) return false;
  layer.units = recurrent_kernel->dimensions()[0];
  layer.recurrent_kernel = recurrent_kernel->untyped_data();
  if (present & kBias) layer.bias = operands.data();
  if (present & kInputMasks) layer.input_masks = operands.data();
  if (present & kRecurrentMasks) layer.recurrent_masks = operands.data();
  layer.activation = static_cast<int32_t>(fields[kActivation]);
  layer.recurrent_activation = static_cast<int32_t>(fields[kRecurrentActivation]);
  layer.go_backwards = fields[kGoBackwards] != 0;
  layer.zero_output = fields[kZeroOutput] != 0;
  layer.start_output = fields[kStartOutput] != 0;
  layer.products = static_cast<int32_t>(fields[kProducts]);
  return true;
}

// Reads all layers of a call. Empty: the operands do not fit the description.
std::vector<gatewise_lstm> take_layers(Operands& operands, Numbers numbers) {
  std::vector<gatewise_lstm> layers(numbers.size() / kFields);
  for (size_t n = 0; n < layers.size(); ++n) {
    layers[n] = {};
    if (!take_arrays(layers[n], operands, numbers.begin() + n * kFields)) return {};
  }
  return layers;
}

// The location of the outputs of one layer, or of their gradients.
struct Place {
  char* start = nullptr;
  int64_t batch_stride = 0, step_stride = 0;
};

// `next` returns one array per layer, or one for all layers; null if there is none.
template <class Next>
std::vector<Place> places(const std::vector<gatewise_lstm>& layers, Numbers numbers,
                          int64_t outputs, Next next) {
  std::vector<Place> found(layers.size());
  if (outputs == kNone) return found;
  int64_t width = 0, before = 0;
  for (const auto& layer : layers) width += layer.units;
  char* array = nullptr;
  for (size_t n = 0; n < layers.size(); ++n) {
    const gatewise_lstm& layer = layers[n];
    const int64_t size = layer.double_precision ? sizeof(double) : sizeof(float);
    if (outputs == kApart) width = layer.units;
    if (outputs == kApart || n == 0) array = static_cast<char*>(next(n));
    if (array) {
      Place& place = found[n];
      place = {array + (outputs == kJoined ? before * size : 0), layer.steps * width, width};
      if (numbers[n * kFields + kFlip]) {
        place.start += (layer.steps - 1) * width * size;
        place.step_stride = -width;
      }
    }
    before += layer.units;
  }
  return found;
}

// Results: y according to `outputs`; h and c of each layer; with `training`, the reserve of each
// layer.
ffi::Error forward(ffi::RemainingArgs args, ffi::RemainingRets rets, Numbers numbers,
                   int64_t outputs, bool training) {
  Operands operands(args);
  Results results(rets);
  std::vector<gatewise_lstm> layers = take_layers(operands, numbers);
  if (layers.empty()) return wrong("the operands of the forward pass do not fit its attributes.");
  const auto y = places(layers, numbers, outputs, [&](size_t) { return results.data(); });
  for (size_t n = 0; n < layers.size(); ++n) {
    layers[n].y = y[n].start;
    layers[n].y_batch_stride = y[n].batch_stride;
    layers[n].y_step_stride = y[n].step_stride;
    layers[n].h = results.data();
    layers[n].c = results.data();
  }
  for (auto& layer : layers) layer.reserve = training ? results.data() : nullptr;
  if (!operands.at_end() || !results.at_end()) {
    return wrong("the forward pass was given more arrays than its attributes tell.");
  }
  return as_error(gatewise_lstm_forward(layers.data(), static_cast<int32_t>(layers.size())));
}

// Operands: those of the forward pass; the reserve of each layer; then the gradients of y, and of h
// and c of each layer, as far as their bit in `given` is set. Results: the reserves, which share
// their memory with the operands; then the wanted gradients of each layer.
ffi::Error backward(ffi::RemainingArgs args, ffi::RemainingRets rets, Numbers numbers,
                    int64_t outputs, int64_t given) {
  Operands operands(args);
  Results results(rets);
  std::vector<gatewise_lstm> layers = take_layers(operands, numbers);
  if (layers.empty()) return wrong("the operands of the backward pass do not fit its attributes.");
  for (size_t n = 0; n < layers.size(); ++n) operands.next();
  for (auto& layer : layers) layer.reserve = results.data();
  int bit = 0;
  const auto gift = [&]() { return given >> bit++ & 1 ? operands.data() : nullptr; };
  std::vector<gatewise_gradient> gradients(layers.size());
  const auto dy = places(layers, numbers, outputs, [&](size_t) { return gift(); });
  for (size_t n = 0; n < layers.size(); ++n) {
    gatewise_gradient& gradient = gradients[n] = {};
    gradient.dy = dy[n].start;
    gradient.dy_batch_stride = dy[n].batch_stride;
    gradient.dy_step_stride = dy[n].step_stride;
    gradient.dh = gift();
    gradient.dc = gift();
  }
  for (size_t n = 0; n < layers.size(); ++n) {
    gatewise_gradient& gradient = gradients[n];
    void** const wishes[] = {&gradient.dx,
                             &gradient.dh0,
                             &gradient.dc0,
                             &gradient.dkernel,
                             &gradient.drecurrent_kernel,
                             &gradient.dbias};
    int64_t wanted = numbers[n * kFields + kGradients];
    for (void** wish : wishes) {
      if (wanted & 1) *wish = results.data();
      wanted >>= 1;
    }
  }
  if (!operands.at_end() || !results.at_end()) {
    return wrong("the backward pass was given more arrays than its attributes tell.");
  }
  return as_error(
      gatewise_lstm_backward(layers.data(), gradients.data(), static_cast<int32_t>(layers.size())));
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(gatewise_xla_forward, forward,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<Numbers>("layers")
                                  .Attr<int64_t>("outputs")
                                  .Attr<bool>("training"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(gatewise_xla_backward, backward,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<Numbers>("layers")
                                  .Attr<int64_t>("outputs")
                                  .Attr<int64_t>("given"));

// The version of the interface that these handlers were compiled for. An older runtime refuses them
// together with its CPU backend, so compare the versions before registering them.
extern "C" int32_t gatewise_xla_version() { return XLA_FFI_API_MAJOR * 1000 + XLA_FFI_API_MINOR; }

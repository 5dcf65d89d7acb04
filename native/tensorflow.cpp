// The engine as operations of TensorFlow: what engine/tensorflow.py loads and calls.
//
// TensorFlow's C interface is declared below by hand, because its headers come only with
// TensorFlow, and this file is compiled without it. The library names libtensorflow_framework.so.2
// as its dependency, so it can be loaded only into a process that has TensorFlow.
//
// There are four operations. Three run the forward pass and differ in what they return of y:
//
//   Gatewise>States      nothing
//   Gatewise>Sequences   an array for each layer
//   Gatewise>Joined      one array for all layers, side by side on the last axis
//   Gatewise>Backward    the gradients of any of these
//
// Each of them runs one layer, or several of the same batch at once. The namespace in their names
// makes TensorFlow refuse to save a graph that holds them, because the file could not be opened
// where gatewise is not installed.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "gatewise.h"
#include "numbers.h"

extern "C" {

struct TF_Status;
struct TF_Tensor;
struct TF_OpDefinitionBuilder;
struct TF_ShapeInferenceContext;
struct TF_ShapeHandle;
struct TF_DimensionHandle;
struct TF_KernelBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
enum TF_Code { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8 };
enum TF_DataType { TF_FLOAT = 1, TF_DOUBLE = 2 };

TF_Status* TF_NewStatus(void);
void TF_DeleteStatus(TF_Status*);
void TF_SetStatus(TF_Status*, TF_Code, const char* message);
TF_Code TF_GetCode(const TF_Status*);

TF_OpDefinitionBuilder* TF_NewOpDefinitionBuilder(const char* name);
void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder*, const char*);
void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder*, const char*);
void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder*, const char*);
void TF_OpDefinitionBuilderSetShapeInferenceFunction(TF_OpDefinitionBuilder*,
                                                     void (*)(TF_ShapeInferenceContext*,
                                                              TF_Status*));
void TF_RegisterOpDefinition(TF_OpDefinitionBuilder*, TF_Status*);

int64_t TF_ShapeInferenceContextNumInputs(TF_ShapeInferenceContext*);
void TF_ShapeInferenceContextGetInput(TF_ShapeInferenceContext*, int, TF_ShapeHandle*, TF_Status*);
void TF_ShapeInferenceContextSetOutput(TF_ShapeInferenceContext*, int, TF_ShapeHandle*, TF_Status*);
void TF_ShapeInferenceContextSetUnknownShape(TF_ShapeInferenceContext*, TF_Status*);
int TF_ShapeInferenceContextRankKnown(TF_ShapeInferenceContext*, TF_ShapeHandle*);
int64_t TF_ShapeInferenceContextRank(TF_ShapeInferenceContext*, TF_ShapeHandle*);
void TF_ShapeInferenceContextDim(TF_ShapeInferenceContext*, TF_ShapeHandle*, int64_t,
                                 TF_DimensionHandle*);
void TF_ShapeInferenceContextSubshape(TF_ShapeInferenceContext*, TF_ShapeHandle*, int64_t start,
                                      int64_t end, TF_ShapeHandle*, TF_Status*);
void TF_ShapeInferenceContextConcatenateShapes(TF_ShapeInferenceContext*, TF_ShapeHandle*,
                                               TF_ShapeHandle*, TF_ShapeHandle*, TF_Status*);
TF_ShapeHandle* TF_ShapeInferenceContextVectorFromSize(TF_ShapeInferenceContext*, size_t);
TF_ShapeHandle* TF_NewShapeHandle();
void TF_DeleteShapeHandle(TF_ShapeHandle*);
TF_DimensionHandle* TF_NewDimensionHandle();
int TF_DimensionHandleValueKnown(TF_DimensionHandle*);
int64_t TF_DimensionHandleValue(TF_DimensionHandle*);
void TF_DeleteDimensionHandle(TF_DimensionHandle*);

TF_KernelBuilder* TF_NewKernelBuilder(const char* operation, const char* device,
                                      void* (*create)(TF_OpKernelConstruction*),
                                      void (*compute)(void*, TF_OpKernelContext*),
                                      void (*destroy)(void*));
void TF_RegisterKernelBuilder(const char* name, TF_KernelBuilder*, TF_Status*);
void TF_OpKernelConstruction_GetAttrSize(TF_OpKernelConstruction*, const char*, int32_t* list_size,
                                         int32_t* total_size, TF_Status*);
void TF_OpKernelConstruction_GetAttrInt64(TF_OpKernelConstruction*, const char*, int64_t*,
                                          TF_Status*);
void TF_OpKernelConstruction_GetAttrInt64List(TF_OpKernelConstruction*, const char*, int64_t*, int,
                                              TF_Status*);
void TF_OpKernelConstruction_GetAttrBool(TF_OpKernelConstruction*, const char*, unsigned char*,
                                         TF_Status*);
void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction*, TF_Status*);

int TF_NumInputs(TF_OpKernelContext*);
int TF_NumOutputs(TF_OpKernelContext*);
TF_DataType TF_InputDatatype(TF_OpKernelContext*, int);
void TF_GetInput(TF_OpKernelContext*, int, TF_Tensor**, TF_Status*);
TF_Tensor* TF_AllocateOutput(TF_OpKernelContext*, int index, TF_DataType, const int64_t* sizes,
                             int rank, size_t bytes, TF_Status*);
TF_Tensor* TF_ForwardInputOrAllocateOutput(TF_OpKernelContext*, const int* inputs, int count,
                                           int output, const int64_t* sizes, int rank,
                                           int* forwarded, TF_Status*);
void TF_OpKernelContext_Failure(TF_OpKernelContext*, TF_Status*);

void* TF_TensorData(const TF_Tensor*);
int TF_NumDims(const TF_Tensor*);
int64_t TF_Dim(const TF_Tensor*, int);
void TF_DeleteTensor(TF_Tensor*);

}  // extern "C"

namespace {

using namespace gatewise;  // of numbers.h

enum Outputs { kStates, kSequences, kJoined, kBackward };

constexpr const char* kNames[] = {"Gatewise>States", "Gatewise>Sequences", "Gatewise>Joined",
                                  "Gatewise>Backward"};

using Sizes = std::vector<int64_t>;

struct Failure {
  TF_Code code;
  std::string message;
};

[[noreturn]] void refuse(const std::string& what) {
  throw Failure{TF_INVALID_ARGUMENT, "gatewise: " + what};
}

class Status {
 public:
  Status() : status_(TF_NewStatus()) {}
  ~Status() { TF_DeleteStatus(status_); }
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;
  operator TF_Status*() { return status_; }
  bool failed() const { return TF_GetCode(status_) != TF_OK; }

 private:
  TF_Status* status_;
};

// What an operation was made with.
struct Attributes {
  std::vector<int64_t> numbers;  // kFields for each layer
  int64_t outputs = 0;           // of the backward pass: the forward pass that it belongs to
  int64_t given = 0;             // of the backward pass: a bit for each gradient that comes
  unsigned char training = 0;    // of the forward pass: fill the reserves

  size_t count() const { return numbers.size() / kFields; }
  const int64_t* of(size_t layer) const { return numbers.data() + layer * kFields; }
};

class Tensors {
 public:
  explicit Tensors(TF_OpKernelContext* context) : context_(context) {}
  ~Tensors() {
    for (TF_Tensor* one : held_) TF_DeleteTensor(one);
  }
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;

  TF_Tensor* input() {
    TF_Tensor* found = nullptr;
    Status status;
    TF_GetInput(context_, next_input_++, &found, status);
    if (status.failed()) refuse("an operation has fewer inputs than its attributes tell.");
    held_.push_back(found);
    return found;
  }

  void* input(const char* name, const Sizes& wanted) {
    TF_Tensor* found = input();
    Sizes sizes(TF_NumDims(found));
    for (size_t axis = 0; axis < sizes.size(); ++axis) sizes[axis] = TF_Dim(found, axis);
    if (sizes != wanted) {
      refuse(std::string(name) + " has the shape " + written(sizes) + ", and " + written(wanted) +
             " is needed.");
    }
    return TF_TensorData(found);
  }

  void* output(const Sizes& sizes) {
    const TF_DataType dtype = TF_InputDatatype(context_, 0);
    size_t bytes = dtype == TF_DOUBLE ? sizeof(double) : sizeof(float);
    for (int64_t size : sizes) bytes *= size;
    Status status;
    return kept(TF_AllocateOutput(context_, next_output_++, dtype, sizes.data(), sizes.size(),
                                  bytes, status),
                status);
  }

  // An output with the numbers of an input. It takes the memory of the input too if nothing else
  // reads that; so it must be called before the input is read.
  void* taken(const Sizes& sizes) {
    const int place = next_input_;
    int forwarded = -1;
    Status status;
    void* data =
        kept(TF_ForwardInputOrAllocateOutput(context_, &place, 1, next_output_++, sizes.data(),
                                             sizes.size(), &forwarded, status),
             status);
    if (forwarded == place) {
      ++next_input_;
      return data;
    }
    const void* source = input("a reserve", sizes);
    size_t bytes = TF_InputDatatype(context_, 0) == TF_DOUBLE ? sizeof(double) : sizeof(float);
    for (int64_t size : sizes) bytes *= size;
    std::memcpy(data, source, bytes);
    return data;
  }

  bool all_used() const {
    return next_input_ == TF_NumInputs(context_) && next_output_ == TF_NumOutputs(context_);
  }

 private:
  static std::string written(const Sizes& sizes) {
    std::string text = "[";
    for (int64_t size : sizes) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
  }

  void* kept(TF_Tensor* made, const Status& status) {
    if (status.failed() || !made) {
      throw Failure{TF_RESOURCE_EXHAUSTED,
                    "gatewise: there is no memory left for the outputs of an LSTM layer. Use a "
                    "smaller batch or shorter sequences."};
    }
    held_.push_back(made);
    return TF_TensorData(made);
  }

  TF_OpKernelContext* context_;
  std::vector<TF_Tensor*> held_;
  int next_input_ = 0, next_output_ = 0;
};

// The layers of a call with what they read: all x, all recurrent kernels, then what else is there
// of each layer; masks come last, with another dtype.
class Layers {
 public:
  Layers(const Attributes& attributes, Tensors& tensors, TF_OpKernelContext* context)
      : attributes_(attributes), layers_(attributes.count()) {
    for (auto& layer : layers_) {
      layer = {};
      TF_Tensor* x = tensors.input();
      if (TF_NumDims(x) != 3) refuse("x is not an array of [batch, steps, features].");
      layer.double_precision = TF_InputDatatype(context, 0) == TF_DOUBLE;
      layer.batch = TF_Dim(x, 0);
      layer.steps = TF_Dim(x, 1);
      layer.features = TF_Dim(x, 2);
      layer.x = TF_TensorData(x);
      if (layer.batch != layers_[0].batch || layer.steps != layers_[0].steps) {
        refuse("the layers of a call have not the same batch and steps.");
      }
    }
    if (layers_[0].steps == 0) refuse("x has no steps.");
    for (auto& layer : layers_) {
      TF_Tensor* recurrent_kernel = tensors.input();
      layer.units = TF_NumDims(recurrent_kernel) == 2 ? TF_Dim(recurrent_kernel, 0) : 0;
      if (layer.units < 1 || TF_Dim(recurrent_kernel, 1) != 4 * layer.units) {
        refuse("the recurrent kernel is not an array of [units, 4 units].");
      }
      layer.recurrent_kernel = TF_TensorData(recurrent_kernel);
    }
    for (size_t n = 0; n < layers_.size(); ++n) take(layers_[n], attributes.of(n), tensors);
  }

  void take_masks(Tensors& tensors) {
    for (size_t n = 0; n < layers_.size(); ++n) {
      gatewise_lstm& layer = layers_[n];
      if (attributes_.of(n)[kArrays] & kMask) {
        layer.mask = static_cast<const uint8_t*>(tensors.input("mask", {layer.batch, layer.steps}));
      }
    }
  }

  std::vector<gatewise_lstm>& all() { return layers_; }
  bool empty() const { return layers_[0].batch == 0; }
  int64_t width() const {
    int64_t sum = 0;
    for (const auto& layer : layers_) sum += layer.units;
    return sum;
  }

  // Where the outputs of a layer lie, or their gradients. `next` gives an array of this many units.
  template <class Next, class Put>
  void place(int64_t outputs, Next next, Put put) const {
    if (outputs == kStates) return;
    const int64_t size = layers_[0].double_precision ? sizeof(double) : sizeof(float);
    const int64_t joined = width();
    int64_t before = 0;
    char* array = nullptr;
    for (size_t n = 0; n < layers_.size(); ++n) {
      const gatewise_lstm& layer = layers_[n];
      const int64_t width = outputs == kJoined ? joined : layer.units;
      if (outputs == kSequences || n == 0) array = static_cast<char*>(next(width));
      if (array) {
        char* start = array + (outputs == kJoined ? before * size : 0);
        int64_t step_stride = width;
        if (attributes_.of(n)[kFlip]) {
          start += (layer.steps - 1) * width * size;
          step_stride = -width;
        }
        put(n, start, layer.steps * width, step_stride);
      }
      before += layer.units;
    }
  }

 private:
  static void take(gatewise_lstm& layer, const int64_t* fields, Tensors& tensors) {
    const int64_t present = fields[kArrays];
    const int64_t b = layer.batch, i = layer.features, u = layer.units;
    if (present & kH0) layer.h0 = tensors.input("h0", {b, u});
    if (present & kC0) layer.c0 = tensors.input("c0", {b, u});
    layer.kernel = tensors.input("kernel", {i, 4 * u});
    if (present & kBias) layer.bias = tensors.input("bias", {4 * u});
    if (present & kInputMasks) layer.input_masks = tensors.input("input_masks", {4, b, i});
    if (present & kRecurrentMasks) {
      layer.recurrent_masks = tensors.input("recurrent_masks", {4, b, u});
    }
    layer.activation = static_cast<int32_t>(fields[kActivation]);
    layer.recurrent_activation = static_cast<int32_t>(fields[kRecurrentActivation]);
    layer.go_backwards = fields[kGoBackwards] != 0;
    layer.zero_output = fields[kZeroOutput] != 0;
    layer.start_output = fields[kStartOutput] != 0;
    layer.products = static_cast<int32_t>(fields[kProducts]);
  }

  const Attributes& attributes_;
  std::vector<gatewise_lstm> layers_;
};

void told(int32_t status) {
  if (status == GATEWISE_NO_MEMORY) {
    throw Failure{TF_RESOURCE_EXHAUSTED,
                  "gatewise: there is no memory left for the scratch of an LSTM layer. Use a "
                  "smaller batch or shorter sequences."};
  }
  if (status != GATEWISE_DONE) {
    refuse("the LSTM kernels refuse a size, an activation or an array that is missing.");
  }
}

Sizes reserve(const gatewise_lstm& layer) {
  return {layer.batch, gatewise_reserve_size(layer.steps, layer.units)};
}

// Outputs: y as the operation says; h and c of each layer; the reserve of each layer, which is
// empty without `training`.
template <Outputs kOutputs>
void forward(const Attributes& attributes, TF_OpKernelContext* context) {
  Tensors tensors(context);
  Layers layers(attributes, tensors, context);
  layers.take_masks(tensors);
  auto& all = layers.all();
  layers.place(
      kOutputs, [&](int64_t width) { return tensors.output({all[0].batch, all[0].steps, width}); },
      [&](size_t n, void* start, int64_t batch_stride, int64_t step_stride) {
        all[n].y = start;
        all[n].y_batch_stride = batch_stride;
        all[n].y_step_stride = step_stride;
      });
  for (auto& layer : all) {
    layer.h = tensors.output({layer.batch, layer.units});
    layer.c = tensors.output({layer.batch, layer.units});
  }
  for (auto& layer : all) {
    if (attributes.training) {
      layer.reserve = tensors.output(reserve(layer));
    } else {
      tensors.output({0, 0});
    }
  }
  if (!tensors.all_used()) refuse("the forward pass was given more than its attributes tell.");
  if (layers.empty()) return;
  told(gatewise_lstm_forward(all.data(), static_cast<int32_t>(all.size())));
}

// Inputs: those of the forward pass without the masks; the reserve of each layer; of the gradients
// of y, then of h and c of each layer, those for which `given` has a bit; the masks. Outputs: the
// reserves, which the gradient overwrites; the wanted gradients of each layer.
void backward(const Attributes& attributes, TF_OpKernelContext* context) {
  Tensors tensors(context);
  Layers layers(attributes, tensors, context);
  auto& all = layers.all();
  for (auto& layer : all) layer.reserve = tensors.taken(reserve(layer));
  const int64_t batch = all[0].batch, steps = all[0].steps;
  int bit = 0;
  const auto gift = [&](const char* name, const Sizes& sizes) -> void* {
    return attributes.given >> bit++ & 1 ? tensors.input(name, sizes) : nullptr;
  };
  std::vector<gatewise_gradient> gradients(all.size());
  layers.place(
      attributes.outputs, [&](int64_t width) { return gift("dy", {batch, steps, width}); },
      [&](size_t n, void* start, int64_t batch_stride, int64_t step_stride) {
        gradients[n].dy = start;
        gradients[n].dy_batch_stride = batch_stride;
        gradients[n].dy_step_stride = step_stride;
      });
  for (size_t n = 0; n < all.size(); ++n) {
    gradients[n].dh = gift("dh", {batch, all[n].units});
    gradients[n].dc = gift("dc", {batch, all[n].units});
  }
  layers.take_masks(tensors);
  for (size_t n = 0; n < all.size(); ++n) {
    gatewise_gradient& gradient = gradients[n];
    const int64_t i = all[n].features, u = all[n].units;
    const std::pair<void**, Sizes> wishes[] = {{&gradient.dx, {batch, steps, i}},
                                               {&gradient.dh0, {batch, u}},
                                               {&gradient.dc0, {batch, u}},
                                               {&gradient.dkernel, {i, 4 * u}},
                                               {&gradient.drecurrent_kernel, {u, 4 * u}},
                                               {&gradient.dbias, {4 * u}}};
    int64_t wanted = attributes.of(n)[kGradients];
    for (const auto& [place, sizes] : wishes) {
      if (wanted & 1) {
        *place = tensors.output(sizes);
        if (layers.empty()) {
          int64_t bytes = all[n].double_precision ? sizeof(double) : sizeof(float);
          for (int64_t size : sizes) bytes *= size;
          if (bytes) std::memset(*place, 0, bytes);
        }
      }
      wanted >>= 1;
    }
  }
  if (!tensors.all_used()) refuse("the backward pass was given more than its attributes tell.");
  if (layers.empty()) return;
  told(gatewise_lstm_backward(all.data(), gradients.data(), static_cast<int32_t>(all.size())));
}

template <Outputs kOutputs>
void* create(TF_OpKernelConstruction* context) {
  auto made = std::make_unique<Attributes>();
  Status status;
  int32_t count = 0, bytes = 0;
  TF_OpKernelConstruction_GetAttrSize(context, "layers", &count, &bytes, status);
  if (!status.failed()) {
    made->numbers.resize(count);
    TF_OpKernelConstruction_GetAttrInt64List(context, "layers", made->numbers.data(), count,
                                             status);
  }
  if (!status.failed() && kOutputs == kBackward) {
    TF_OpKernelConstruction_GetAttrInt64(context, "outputs", &made->outputs, status);
    if (!status.failed()) {
      TF_OpKernelConstruction_GetAttrInt64(context, "given", &made->given, status);
    }
  } else if (!status.failed()) {
    TF_OpKernelConstruction_GetAttrBool(context, "training", &made->training, status);
  }
  if (!status.failed() && (count == 0 || count % kFields)) {
    TF_SetStatus(status, TF_INVALID_ARGUMENT, "gatewise: 'layers' wants nine numbers a layer.");
  }
  if (status.failed()) {
    TF_OpKernelConstruction_Failure(context, status);
    return nullptr;
  }
  return made.release();
}

template <Outputs kOutputs>
void compute(void* kernel, TF_OpKernelContext* context) {
  const auto& attributes = *static_cast<const Attributes*>(kernel);
  try {
    if constexpr (kOutputs == kBackward) {
      backward(attributes, context);
    } else {
      forward<kOutputs>(attributes, context);
    }
  } catch (const Failure& failure) {
    Status status;
    TF_SetStatus(status, failure.code, failure.message.c_str());
    TF_OpKernelContext_Failure(context, status);
  }
}

void destroy(void* kernel) { delete static_cast<Attributes*>(kernel); }

// Shapes, as far as they are known before a call. The C interface shows no attribute of numbers
// here, so the number of layers is that of the inputs of rank three, which come first.

class Shape {
 public:
  Shape() : handle_(TF_NewShapeHandle()) {}
  explicit Shape(TF_ShapeHandle* handle) : handle_(handle) {}
  ~Shape() { TF_DeleteShapeHandle(handle_); }
  Shape(Shape&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Shape(const Shape&) = delete;
  Shape& operator=(const Shape&) = delete;
  operator TF_ShapeHandle*() const { return handle_; }

 private:
  TF_ShapeHandle* handle_;
};

template <Outputs kOutputs>
void infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  // Of the backward pass, and of reserves, Python knows the shapes.
  TF_ShapeInferenceContextSetUnknownShape(context, status);
  if (kOutputs == kBackward || TF_GetCode(status) != TF_OK) return;
  const int64_t count = TF_ShapeInferenceContextNumInputs(context);
  std::vector<Shape> inputs(count);
  int64_t layers = 0;
  for (int64_t n = 0; n < count; ++n) {
    TF_ShapeInferenceContextGetInput(context, n, inputs[n], status);
    if (TF_GetCode(status) != TF_OK) return;
    if (!TF_ShapeInferenceContextRankKnown(context, inputs[n])) return;
    if (TF_ShapeInferenceContextRank(context, inputs[n]) != 3) break;
    ++layers;
  }
  if (layers == 0 || 2 * layers > count) return;
  std::vector<Shape> units(layers);
  int64_t width = 0;  // of all layers together; -1: not known
  for (int64_t n = 0; n < layers; ++n) {
    Shape recurrent_kernel;
    TF_ShapeInferenceContextGetInput(context, layers + n, recurrent_kernel, status);
    if (TF_GetCode(status) != TF_OK) return;
    if (!TF_ShapeInferenceContextRankKnown(context, recurrent_kernel)) return;
    if (TF_ShapeInferenceContextRank(context, recurrent_kernel) != 2) {
      TF_SetStatus(status, TF_INVALID_ARGUMENT,
                   "gatewise: the recurrent kernel is not an array of [units, 4 units].");
      return;
    }
    TF_ShapeInferenceContextSubshape(context, recurrent_kernel, 0, 1, units[n], status);
    TF_DimensionHandle* size = TF_NewDimensionHandle();
    TF_ShapeInferenceContextDim(context, recurrent_kernel, 0, size);
    const bool known = TF_DimensionHandleValueKnown(size) && width >= 0;
    width = known ? width + TF_DimensionHandleValue(size) : -1;
    TF_DeleteDimensionHandle(size);
  }
  Shape batch, steps;  // [batch], [batch, steps]
  TF_ShapeInferenceContextSubshape(context, inputs[0], 0, 1, batch, status);
  TF_ShapeInferenceContextSubshape(context, inputs[0], 0, 2, steps, status);
  int place = 0;
  const auto put = [&](TF_ShapeHandle* before, TF_ShapeHandle* last) {
    Shape whole;
    TF_ShapeInferenceContextConcatenateShapes(context, before, last, whole, status);
    if (TF_GetCode(status) != TF_OK) return;
    TF_ShapeInferenceContextSetOutput(context, place++, whole, status);
  };
  if constexpr (kOutputs == kJoined) {
    if (width < 0) return;
    put(steps, Shape(TF_ShapeInferenceContextVectorFromSize(context, width)));
  }
  for (int64_t n = 0; n < layers && kOutputs == kSequences; ++n) put(steps, units[n]);
  for (int64_t n = 0; n < 2 * layers; ++n) put(batch, units[n / 2]);
}

template <Outputs kOutputs>
void add() {
  TF_OpDefinitionBuilder* made = TF_NewOpDefinitionBuilder(kNames[kOutputs]);
  const auto attributes = [&](std::initializer_list<const char*> texts) {
    for (const char* text : texts) TF_OpDefinitionBuilderAddAttr(made, text);
  };
  const auto inputs = [&](std::initializer_list<const char*> texts) {
    for (const char* text : texts) TF_OpDefinitionBuilderAddInput(made, text);
  };
  const auto outputs = [&](std::initializer_list<const char*> texts) {
    for (const char* text : texts) TF_OpDefinitionBuilderAddOutput(made, text);
  };
  attributes(
      {"T: {float, double}", "L: int >= 1", "N: int >= 1", "M: int >= 0", "layers: list(int)"});
  inputs({"x: L * T", "recurrent_kernel: L * T", "arrays: N * T"});
  if constexpr (kOutputs == kBackward) {
    attributes({"G: int >= 0", "W: int >= 0", "outputs: int", "given: int"});
    inputs({"reserves: L * T", "gifts: G * T", "masks: M * bool"});
    outputs({"used: L * T", "gradients: W * T"});
  } else {
    attributes({"training: bool"});
    inputs({"masks: M * bool"});
    if constexpr (kOutputs == kSequences) outputs({"y: L * T"});
    if constexpr (kOutputs == kJoined) outputs({"y: T"});
    attributes({"S: int >= 2"});  // twice L
    outputs({"states: S * T", "reserves: L * T"});
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(made, infer<kOutputs>);
  Status status;
  TF_RegisterOpDefinition(made, status);
  TF_KernelBuilder* kernel =
      TF_NewKernelBuilder(kNames[kOutputs], "CPU", create<kOutputs>, compute<kOutputs>, destroy);
  TF_RegisterKernelBuilder(kNames[kOutputs], kernel, status);
}

// TensorFlow takes notice of what is registered while it loads a library.
[[maybe_unused]] const bool added =
    (add<kStates>(), add<kSequences>(), add<kJoined>(), add<kBackward>(), true);

}  // namespace

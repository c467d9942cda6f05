#include <algorithm>
#include <array>

#include "lowrank/base/error.h"
#include "lowrank/base/json.h"
#include "lowrank/io/formats/safetensors.h"

namespace lowrank::io {

namespace {

// The reference's order of dtypes, from the end: widest first, so that every tensor is aligned.
constexpr std::array<DType, kDTypeCount> kFileOrder{DType::u64,     DType::i64,     DType::f64, DType::f32, DType::u32,
                                                    DType::i32,     DType::bf16,    DType::f16, DType::u16, DType::i16,
                                                    DType::f8_e4m3, DType::f8_e5m2, DType::i8,  DType::u8,  DType::boolean};

size_t file_rank(DType dtype) { return static_cast<size_t>(std::find(kFileOrder.begin(), kFileOrder.end(), dtype) - kFileOrder.begin()); }

std::string json_text(const std::string& text, std::string_view where) {
  try {
    return Json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::invalid_argument, where, fmt::format("expected UTF-8 text, got {}", quote(text)));
  }
}

void verify(const std::vector<TensorOut>& sorted, std::string_view where) {
  Problems problems(ErrorKind::invalid_argument, std::string(where));
  std::vector<std::string_view> names;
  for (const auto& tensor : sorted) {
    const std::string name = quote(tensor.name);
    if (const auto problem = name_problem(tensor.name); !problem.empty()) {
      problems.add(fmt::format("tensor name {} {}", name, problem));
    }
    const auto size = checked_bytes(tensor.dtype, tensor.shape);
    const std::string kind = describe(tensor.dtype, tensor.shape);
    if (!size) {
      problems.add(fmt::format("tensor {}: the shape of {} is negative or overflows", name, kind));
    } else if (static_cast<size_t>(*size) != tensor.bytes.size()) {
      problems.add(fmt::format("tensor {}: {} takes {} bytes, got {}", name, kind, *size, tensor.bytes.size()));
    }
    names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  for (size_t i = 1; i < names.size(); ++i) {
    if (names[i] == names[i - 1]) problems.add(fmt::format("tensor {} is given twice", quote(names[i])));
  }
  problems.raise_if_any();
}

}  // namespace

std::string safetensors_header(std::vector<TensorOut>& tensors, const Metadata& metadata, std::string_view where) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorOut& a, const TensorOut& b) {
    return std::pair(file_rank(a.dtype), std::string_view(a.name)) < std::pair(file_rank(b.dtype), std::string_view(b.name));
  });
  verify(tensors, where);

  std::string text;
  for (const auto& [key, value] : metadata) {
    text += fmt::format("{}{}:{}", text.empty() ? "\"__metadata__\":{" : ",", json_text(key, where), json_text(value, where));
  }
  if (!text.empty()) text += '}';
  size_t offset = 0;
  for (const auto& tensor : tensors) {
    text +=
        fmt::format(R"({}{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", text.empty() ? "" : ",", json_text(tensor.name, where),
                    to_string(tensor.dtype), fmt::join(tensor.shape, ","), offset, offset + tensor.bytes.size());
    offset += tensor.bytes.size();
  }
  text = fmt::format("{{{}}}", text);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(text.size() <= kMaxSafetensorsHeader, ErrorKind::invalid_argument, where,
        "the header of {} tensors takes {} bytes, over the format's limit of {}", tensors.size(), text.size(), kMaxSafetensorsHeader);

  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

void write_safetensors(const std::filesystem::path& path, std::vector<TensorOut> tensors, const Metadata& metadata) {
  const std::string header = safetensors_header(tensors, metadata, path.string());
  AtomicFile file(path);
  file.write(header);
  for (const auto& tensor : tensors) file.write(tensor.bytes);
  file.commit();
}

}  // namespace lowrank::io

#include "lowrank/adapters/dialects/dialect.h"

#include <ATen/ops/equal.h>
#include <algorithm>
#include <array>
#include <cmath>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/io/tensor_file.h"

namespace lowrank::adapters {

#define LOWRANK_DIALECT(name) const Dialect& name##_dialect();
#include "lowrank/adapters/dialects/dialects.def"
#undef LOWRANK_DIALECT

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";

StoredPart open_folder(const fs::path& path, const std::string& name) {
  StoredPart part{name, {}, {}, read_json(path / kConfig)};
  if (fs::exists(path / kTensors)) part.tensors = tensor::load_tensors(path / kTensors);
  return part;
}

void write_stored(const fs::path& path, const Stored& stored) {
  if (stored.at(0).config.is_null()) {
    tensor::save_tensors(path, stored[0].tensors, stored[0].metadata);
    return;
  }
  AtomicFolder folder(path);
  for (const auto& part : stored) {
    fs::create_directories(folder.path() / part.folder);
    tensor::save_tensors(folder.path() / part.folder / kTensors, part.tensors, part.metadata);
    write_file_atomic(folder.path() / part.folder / kConfig, format_json(part.config));
  }
  folder.commit();
}

// The same tensors and scale: ΔW need not be computed to know that it is the same.
bool same_tensors(const ModuleRecord& one, const ModuleRecord& other) {
  if (one.tensors.size() != other.tensors.size() || one.update != other.update || one.axis != other.axis) return false;
  const auto equal = [](const auto& a, const auto& b) {
    return a.first == b.first && a.second.scalar_type() == b.second.scalar_type() && at::equal(a.second, b.second);
  };
  return one.scale() == other.scale() && std::equal(one.tensors.begin(), one.tensors.end(), other.tensors.begin(), equal);
}

void check_same(const ModuleRecord& written, const ModuleRecord& found, std::string_view where) {
  check(written.name() == found.name() && written.axis == found.axis, ErrorKind::internal, where, "'{}' came back as '{}'", written.name(),
        found.name());
  if (same_tensors(written, found)) return;
  const at::Tensor before = delta(written), after = delta(found);
  check(before.sizes() == after.sizes(), ErrorKind::internal, where, "'{}' came back in another shape", written.name());
  const double size = before.norm().item<double>(), gap = (before - after).norm().item<double>();
  check(gap <= 1e-6 * size, ErrorKind::internal, where, "ΔW of '{}' came back {:.1e} of its size away", written.name(), gap / size);
  if (written.axis == MagnitudeAxis::none) return;
  const auto& name = "lora_magnitude_vector";
  check(at::equal(written.tensors.at(name).flatten(), found.tensors.at(name).flatten()), ErrorKind::internal, where,
        "the magnitude of '{}' came back changed", written.name());
}

void verify(const fs::path& path, const Dialect& dialect, const AdapterRecord& record, const WriteContext& context) {
  const Stored stored = open_stored(path);
  const bool lone = stored.size() == 1 && !stored[0].config.is_null() && stored[0].folder.empty();
  const std::string component = lone && !record.modules.empty() ? record.modules.front().component : "";
  const AdapterRecord found = dialect.read(stored, {path.string(), context.layout, component});
  check(found.unknown.empty() && found.modules.size() == record.modules.size(), ErrorKind::internal, path.string(),
        "{} modules were written, {} came back and {} tensors were not understood", record.modules.size(), found.modules.size(),
        found.unknown.size());
  for (size_t i = 0; i < record.modules.size(); ++i) check_same(record.modules[i], found.modules[i], path.string());
}

}  // namespace

std::span<const Dialect* const> dialects() {
  static const std::array table = {
#define LOWRANK_DIALECT(name) &name##_dialect(),
#include "lowrank/adapters/dialects/dialects.def"
#undef LOWRANK_DIALECT
  };
  return table;
}

const Dialect& dialect_named(std::string_view name) {
  std::vector<std::string> names;
  for (const Dialect* dialect : dialects()) {
    if (dialect->name() == name) return *dialect;
    names.emplace_back(dialect->name());
  }
  fail(ErrorKind::invalid_argument, "dialect",
       fmt::format("expected one of {}, got '{}'{}", fmt::join(names, ", "), name, did_you_mean(name, names)));
}

Stored open_stored(const fs::path& path) {
  check(fs::exists(path), ErrorKind::io, path.string(), "expected an adapter's file or folder, found nothing");
  Stored stored;
  if (!fs::is_directory(path)) {
    const io::TensorFile file = io::TensorFile::open(path);
    StoredPart part{"", {}, file.metadata(), {}};
    for (const auto& view : file.tensors()) part.tensors.emplace(view.name, tensor::to_tensor(view));
    stored.push_back(std::move(part));
  } else if (fs::exists(path / kConfig)) {
    stored.push_back(open_folder(path, ""));
  } else {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (fs::exists(entry.path() / kConfig)) stored.push_back(open_folder(entry.path(), entry.path().filename()));
    }
    std::sort(stored.begin(), stored.end(), [](const auto& a, const auto& b) { return a.folder < b.folder; });
    check(!stored.empty(), ErrorKind::file_format, path.string(), "expected {} here or in folders named after components, found none",
          kConfig);
  }
  return stored;
}

const Dialect* dialect_of(const Stored& stored) {
  for (const Dialect* dialect : dialects()) {
    if (dialect->recognises(stored)) return dialect;
  }
  return nullptr;
}

ReadAdapter read_adapter(const fs::path& path, ReadContext context) {
  Stored stored = open_stored(path);
  const Dialect* dialect = dialect_of(stored);
  std::vector<std::string_view> names;
  for (const Dialect* known : dialects()) names.push_back(known->name());
  if (dialect == nullptr) {
    const std::string first = stored[0].tensors.empty() ? "none" : "'" + stored[0].tensors.begin()->first + "'";
    fail(ErrorKind::file_format, path.string(),
         fmt::format("expected an adapter in the naming of {}, got tensors such as {}", fmt::join(names, ", "), first));
  }
  context.where = path.string();
  AdapterRecord record = dialect->read(stored, context);
  if (context.layout != nullptr && !record.unknown.empty()) {
    // Names that this model lacks but another has: say which one the adapter was made for.
    const AdapterRecord other = dialect->read(std::move(stored), {context.where, nullptr, context.component});
    if (other.unknown.empty()) check_fit(other, *context.layout, context.where);
  }
  return {dialect, std::move(record)};
}

void save_adapter(const fs::path& path, const Dialect& dialect, AdapterRecord& record, const WriteContext& context) {
  check(!record.modules.empty(), ErrorKind::invalid_argument, path.string(), "expected an adapter with modules, got none");
  const Stored stored = dialect.write(record, context);
  const bool folder = !stored.at(0).config.is_null();
  check(!folder || !fs::exists(path), ErrorKind::invalid_argument, path.string(), "expected a folder that does not exist yet");
  // Takes its name only after the check.
  const fs::path unchecked = path.string() + ".unchecked";
  try {
    write_stored(unchecked, stored);
    verify(unchecked, dialect, record, context);
    fs::rename(unchecked, path);
  } catch (...) {
    fs::remove_all(unchecked);
    throw;
  }
}

}  // namespace lowrank::adapters

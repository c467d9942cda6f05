// Dialects: how a program names an adapter's tensors and numbers. One file and one line in dialects.def each. A dialect maps between
// tensors with metadata and an AdapterRecord; which container these lie in (a file, a folder a component) is not its affair.
#pragma once

#include <filesystem>
#include <span>

#include "lowrank/adapters/dialects/layout.h"
#include "lowrank/base/json.h"

namespace lowrank::adapters {

/// One container's content: a safetensors file, or one folder with adapter_config.json.
struct StoredPart {
  std::string folder;  // of a component, below the adapter's own folder; "" for a file
  tensor::TensorMap tensors;
  io::Metadata metadata;
  Json config;  // null for a file
};
using Stored = std::vector<StoredPart>;

/// What a reader may need to know of the model.
struct ReadContext {
  std::string where;                    // the path, for messages
  const ModelLayout* layout = nullptr;  // the model's own layers; nullptr: SD 1.5's and SDXL's
  std::string component;                // of a PEFT folder that does not say; "": from its modules' names
};

struct WriteContext {
  const ModelLayout* layout = nullptr;  // nullptr: the built-in one that fits
  std::string title;                    // modelspec.title
};

class Dialect {
 public:
  virtual ~Dialect() = default;
  virtual std::string_view name() const = 0;   // "kohya"
  virtual std::string_view title() const = 0;  // for people
  virtual bool recognises(const Stored& stored) const = 0;
  /// Names that nobody knows go to `unknown`. Throws Error{file_format, unsupported} for what breaks the dialect.
  virtual AdapterRecord read(Stored stored, const ReadContext& context) const = 0;
  /// Why these modules of one component cannot be said as they are: "" or a sentence. Called with one component's modules, since
  /// some dialects have one method a component.
  virtual std::string refusal(const ModuleRecord& module, std::span<const ModuleRecord> component) const = 0;
  /// Tensors and metadata for a record without refusals. `record.notes` may grow.
  virtual Stored write(AdapterRecord& record, const WriteContext& context) const = 0;
};

/// Every dialect of dialects.def, in that order.
std::span<const Dialect* const> dialects();
/// Throws Error{invalid_argument} with near misses.
const Dialect& dialect_named(std::string_view name);

/// Reads what lies at `path`: a safetensors file, a PEFT folder, or a folder of PEFT folders named after components.
/// Throws Error{io, file_format, unsupported}.
Stored open_stored(const std::filesystem::path& path);
/// The first dialect that recognises it. nullptr: none.
const Dialect* dialect_of(const Stored& stored);

struct ReadAdapter {
  const Dialect* dialect = nullptr;
  AdapterRecord record;
};
/// Throws Error{file_format} when no dialect knows it, and Error{shape} naming the model it was made for when names that the context's
/// layout lacks are another model's.
ReadAdapter read_adapter(const std::filesystem::path& path, ReadContext context = {});

/// Writes atomically, reads the result back and compares every module (ΔW in float64, magnitudes and numbers) before it returns.
/// Throws Error{internal} when they differ.
void save_adapter(const std::filesystem::path& path, const Dialect& dialect, AdapterRecord& record, const WriteContext& context);

}  // namespace lowrank::adapters

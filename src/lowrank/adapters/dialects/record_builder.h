// Gathers a file's tensors into an AdapterRecord: what every reader does once it knows which module and tensor a key means.
#pragma once

#include <functional>
#include <map>

#include "lowrank/adapters/dialects/record.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

class RecordBuilder {
 public:
  explicit RecordBuilder(std::string where) : where_(std::move(where)), problems_(ErrorKind::file_format, where_) {}

  /// One tensor under our name, or "alpha". A second one of the same name is a problem.
  void put(const std::string& component, const std::string& module, const std::string& name, const at::Tensor& value);
  void unknown(const std::string& key, const std::string& reason) { record_.unknown.push_back(key + ": " + reason); }
  void note(std::string text) { record_.notes.push_back(std::move(text)); }

  /// Called for each classified module with the stored alpha (0 when there is none): sets alpha, rank and rule.
  using Numbers = std::function<void(ModuleRecord&, double stored_alpha)>;
  /// Classifies and sorts all modules. Every problem is reported in one Error{file_format}.
  AdapterRecord finish(io::Metadata metadata, const Numbers& numbers);

 private:
  double stored_alpha(ModuleRecord& module);

  std::string where_;
  Problems problems_;
  AdapterRecord record_;
  std::map<std::pair<std::string, std::string>, ModuleRecord> modules_;
  std::map<std::string, int> narrow_alphas_;  // dtype → modules
};

/// alpha in the file, or the rank without one (counted in `missing`), as kohya, LyCORIS, ComfyUI and diffusers have it. LoKr of two
/// whole factors has scale 1.
void set_numbers(ModuleRecord& module, double stored_alpha, int& missing);

}  // namespace lowrank::adapters

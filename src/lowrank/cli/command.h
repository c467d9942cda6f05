// One verb of the program: its flags come from option tables, its values from a YAML file and the command line.
//
//   Command command(app, "train", "adapt a model to labelled text", "lowrank train --model m --data d.jsonl --out run");
//   command.describe(table);                       // flags and help for every option of the table
//   command.on_run([&] { command.apply(table); command.finish(); … return 0; });
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lowrank/base/json.h"
#include "lowrank/base/options.h"

// The header of CLI11 takes seconds to compile: only command.cpp and main.cpp include it.
namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace lowrank::cli {

class Command {
 public:
  Command(CLI::App& app, const std::string& name, const std::string& summary, const std::string& examples);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  /// Adds a flag for every option that has none yet (methods may share a name).
  void describe(const OptionTable& table);
  /// A required or optional file given without a flag.
  void positional(const std::string& name, std::string& target, const std::string& help);
  void positional(const std::string& name, std::vector<std::string>& targets, const std::string& help);
  void on_run(std::function<int()> body);

  /// Sets the table's options from --config, then from the flags, and notes them as known.
  void apply(OptionTable& table);
  /// Throws Error{invalid_argument} for a key of the file or a flag that no applied table knew; `context` says why an
  /// otherwise valid flag may not apply ("method 'lora'").
  void finish(const std::string& context) const;
  /// What the user gave for a flag, or in the file; "" when neither.
  std::string given(const std::string& name) const;

  bool json() const { return json_; }
  const std::string& name() const { return name_; }

 private:
  void read_config();
  void refuse_extras() const;

  std::string name_, config_path_;
  CLI::App* app_;
  bool json_ = false;
  std::map<std::string, std::string> flags_;  // by option name; holds only what was given after parsing
  std::map<std::string, CLI::Option*> registered_;
  Json file_ = Json::object();
  std::set<std::string> known_;
};

/// A YAML file of scalars and lists as JSON. Throws Error{file_format} with line and column, also for duplicate keys.
Json read_yaml(const std::string& path);

}  // namespace lowrank::cli

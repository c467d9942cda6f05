#include "lowrank/cli/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "lowrank/base/error.h"

namespace lowrank::cli {

namespace {

std::string help_of(const Option& option) {
  std::string text = option.help();
  const std::string limits = option.limits();
  if (!limits.empty()) text += fmt::format(" ({})", limits);
  const Json& value = option.default_value();
  const bool empty = (value.is_string() && value.get<std::string>().empty()) || (value.is_array() && value.empty());
  if (!empty) text += fmt::format(" [{}]", value.is_string() ? value.get<std::string>() : value.dump());
  return text;
}

std::string canonical(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

}  // namespace

Command::Command(CLI::App& app, const std::string& name, const std::string& summary, const std::string& examples)
    : name_(name), app_(app.add_subcommand(name, summary)) {
  app_->footer("Examples:\n  " + examples);
  app_->allow_extras();  // unknown flags are refused below, with near misses
  app_->add_option("--config", config_path_, "YAML file of options; flags override it")->group("General");
  app_->add_flag("--json", json_, "print results as JSON, for scripts")->group("General");
}

void Command::describe(const OptionTable& table) {
  for (const Option& option : table.options()) {
    if (registered_.contains(option.name())) continue;
    std::string& target = flags_[option.name()];
    CLI::Option* flag = app_->add_option("--" + option.name(), target, help_of(option));
    flag->group(option.group().empty() ? "General" : option.group());
    const bool is_list = option.is_list() && option.separator() == ',';
    flag->type_name(option.is_flag() ? "" : is_list ? "A,B,…" : option.default_value().is_number() ? "N" : "TEXT");
    if (option.is_flag()) flag->expected(0, 1);
    if (option.is_list()) flag->join(option.separator());  // a list may also be given flag by flag
    registered_[option.name()] = flag;
  }
}

void Command::positional(const std::string& name, std::string& target, const std::string& help) { app_->add_option(name, target, help); }

void Command::positional(const std::string& name, std::vector<std::string>& targets, const std::string& help) {
  app_->add_option(name, targets, help);
}

void Command::on_run(std::function<int()> body) {
  app_->callback([this, body = std::move(body)] {
    refuse_extras();
    read_config();
    if (const int status = body(); status != 0) throw CLI::RuntimeError(status);
  });
}

void Command::apply(OptionTable& table) {
  Problems problems(ErrorKind::invalid_argument, name_);
  const auto attempt = [&](auto&& action) {
    try {
      action();
    } catch (const Error& error) {
      problems.add(fmt::format("{} ({})", error.problem(), error.where()));
    }
  };
  for (const auto& [key, value] : file_.items()) {
    if (Option* option = table.find(key)) attempt([&] { option->set(value, config_path_); });
  }
  for (const auto& [flag_name, flag] : registered_) {
    Option* option = table.find(flag_name);
    if (option != nullptr && flag->count() > 0) attempt([&] { option->set_text(flags_.at(flag_name), "--" + flag_name); });
  }
  for (const Option& option : table.options()) known_.insert(option.name());
  problems.raise_if_any(fmt::format("lowrank {} --help lists every option", name_));
}

void Command::finish(const std::string& context) const {
  Problems problems(ErrorKind::invalid_argument, name_);
  std::vector<std::string> names;
  for (const auto& [flag_name, _] : registered_) names.push_back(flag_name);
  for (const auto& [key, _] : file_.items()) {
    const std::string plain = canonical(key);
    if (known_.contains(plain)) continue;
    problems.add(registered_.contains(plain) ? fmt::format("{}: '{}' does not apply to {}", config_path_, key, context)
                                             : fmt::format("{}: unknown option '{}'{}", config_path_, key, did_you_mean(plain, names)));
  }
  for (const auto& [flag_name, flag] : registered_) {
    if (flag->count() > 0 && !known_.contains(flag_name)) problems.add(fmt::format("--{} does not apply to {}", flag_name, context));
  }
  problems.raise_if_any(fmt::format("lowrank {} --help lists every option", name_));
}

std::string Command::given(const std::string& name) const {
  const auto flag = registered_.find(name);
  if (flag != registered_.end() && flag->second->count() > 0) return flags_.at(name);
  for (const auto& [key, value] : file_.items()) {
    if (canonical(key) == name) return value.is_string() ? value.get<std::string>() : value.dump();
  }
  return {};
}

void Command::read_config() {
  if (!config_path_.empty()) file_ = read_yaml(config_path_);
}

void Command::refuse_extras() const {
  Problems problems(ErrorKind::invalid_argument, name_);
  std::vector<std::string> names;
  for (const auto& [flag_name, _] : registered_) names.push_back("--" + flag_name);
  for (const auto& extra : app_->remaining()) {
    problems.add(extra.starts_with("-") ? fmt::format("unknown flag '{}'{}", extra, did_you_mean(canonical(extra), names))
                                        : fmt::format("unexpected argument '{}'", extra));
  }
  problems.raise_if_any(fmt::format("lowrank {} --help lists every option", name_));
}

}  // namespace lowrank::cli

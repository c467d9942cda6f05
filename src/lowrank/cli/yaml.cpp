#include <yaml-cpp/yaml.h>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/command.h"

namespace lowrank::cli {

namespace {

Json to_json(const YAML::Node& node, const std::string& path);

Json scalar(const YAML::Node& node) {
  // A quoted scalar carries the tag "!": it is text whatever it looks like.
  if (node.Tag() == "!") return node.as<std::string>();
  if (bool value = false; YAML::convert<bool>::decode(node, value)) return value;
  if (int64_t value = 0; YAML::convert<int64_t>::decode(node, value)) return value;
  if (double value = 0; YAML::convert<double>::decode(node, value)) return value;
  return node.as<std::string>();
}

Json mapping(const YAML::Node& node, const std::string& path) {
  Json object = Json::object();
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    check(!object.contains(key), ErrorKind::file_format, path, "line {}: key '{}' is given twice", entry.first.Mark().line + 1, key);
    object[key] = to_json(entry.second, path);
  }
  return object;
}

Json to_json(const YAML::Node& node, const std::string& path) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar: return scalar(node);
    case YAML::NodeType::Map: return mapping(node, path);
    case YAML::NodeType::Sequence: {
      Json list = Json::array();
      for (const auto& item : node) list.push_back(to_json(item, path));
      return list;
    }
    default: return nullptr;
  }
}

}  // namespace

Json read_yaml(const std::string& path) {
  const std::string text = read_file(path);
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return Json::object();
    check(root.IsMap(), ErrorKind::file_format, path, "expected a mapping of options at the top");
    return mapping(root, path);
  } catch (const YAML::Exception& error) {
    fail(ErrorKind::file_format, path,
         fmt::format("not valid YAML at line {}, column {}: {}", error.mark.line + 1, error.mark.column + 1, error.msg));
  }
}

}  // namespace lowrank::cli

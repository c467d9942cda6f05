#include "lowrank/data/images/image_report.h"

namespace lowrank::data {

namespace {

Json to_json(const std::vector<NamedFigure>& figures) {
  Json list = Json::array();
  for (const auto& [name, figure] : figures) list.push_back({{"name", name}, {"figure", figure}});
  return list;
}

}  // namespace

Json ImageReport::to_json() const {
  Json json = {{"folder", folder}, {"layout", layout}, {"pictures", pictures}, {"prior_pictures", prior_pictures},
               {"draws", draws},   {"masks", masks},   {"hash", hash}};
  json["folders"] = Json::array();
  for (const auto& item : folders) json["folders"].push_back({{"name", item.name}, {"pictures", item.pictures}, {"repeats", item.repeats}});
  json["classes"] = Json::array();
  for (const auto& item : classes) json["classes"].push_back({{"label", item.label}, {"pictures", item.pictures}});
  json["buckets"] = Json::array();
  for (const auto& item : buckets) {
    json["buckets"].push_back(
        {{"width", item.size.width}, {"height", item.size.height}, {"pictures", item.pictures}, {"draws", item.draws}});
  }
  json["captions"] = {{"missing", missing_captions},
                      {"empty", empty_captions},
                      {"several_lines", several_lines},
                      {"unused", unused_captions},
                      {"token_limit", token_limit},
                      {"long", data::to_json(long_prompts)},
                      {"shown", captions}};
  json["orphans"] = orphans;
  json["missing_masks"] = missing_masks;
  json["unused_keys"] = unused_keys;
  json["other_files"] = other_files;
  json["cropped"] = {{"mean", mean_cropped}, {"over_a_tenth", data::to_json(cropped)}};
  json["upscaled"] = data::to_json(upscaled);
  json["duplicates"] = duplicates;
  json["broken"] = broken;
  json["notes"] = notes;
  return json;
}

}  // namespace lowrank::data

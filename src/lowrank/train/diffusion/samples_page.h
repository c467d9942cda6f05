// The page of pictures drawn while a model trains: a row a step, the newest first; a column a prompt. It stands alone but for the
// pictures beside it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/json.h"

namespace lowrank::train {

/// What was drawn at one step.
struct SampleRow {
  int64_t step = 0;
  double epoch = 0;
  std::vector<std::string> files;  // one a prompt, beside the page; "" where there is no picture
};

struct SamplesPage {
  std::string name, settings;  // of the run; how all pictures were drawn
  std::vector<std::string> prompts;
  int64_t width = 0, height = 0;  // of a picture
  std::vector<SampleRow> rows;    // by step
  bool grows = false;             // more rows will come: the page loads itself again
};

std::string render_html(const SamplesPage& page);

/// samples.css, embedded at build time.
std::string_view samples_style();

}  // namespace lowrank::train

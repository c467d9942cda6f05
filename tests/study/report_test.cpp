#include "lowrank/study/report.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <regex>

#include "study/simulated_study.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/study/format.h"

namespace lowrank::study {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const SummaryOptions kQuick{.bootstrap_draws = 200};

size_t count_of(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

struct Written {
  std::string html, markdown;
  Json json;
};

Written write(const Study& study) {
  const test::TempDir folder;
  const ReportFiles files = write_report(folder / "out", study, kQuick);
  return {read_file(files.html), read_file(files.markdown), read_json(files.json)};
}

TEST(Report, PageNeedsNothingFromOutside) {
  const std::string html = write(test::simulated_study()).html;
  EXPECT_EQ(count_of(html, "<script"), 3u);
  EXPECT_EQ(count_of(html, "</script>"), 3u);
  EXPECT_FALSE(std::regex_search(html.substr(0, html.find("Chart.js")), std::regex("(src|href)\\s*=")));
  EXPECT_THAT(html, Not(HasSubstr("@import")));
  EXPECT_THAT(html, Not(HasSubstr("url(")));
  EXPECT_THAT(html, HasSubstr("Chart.js v3"));
  EXPECT_THAT(html, HasSubstr("Released under the MIT License"));
}

TEST(Report, UserTextIsEscapedEverywhere) {
  Study study = test::simulated_study();
  const std::string evil = "</script><img src=x onerror=alert(1)> | *b* \"q\"";
  study.title = study.model = study.label_names[0] = study.titles["lora"] = study.data_report["file"] = study.command = evil;
  study.runs.back().error = evil;
  const Written written = write(study);
  EXPECT_THAT(written.html, Not(HasSubstr("<img")));
  EXPECT_EQ(count_of(written.html, "</script>"), 3u);
  EXPECT_THAT(written.html, HasSubstr("&#60;/script&#62;&#60;img src=x"));
  EXPECT_THAT(written.markdown, HasSubstr("&lt;/script\\>&lt;img src=x onerror=alert(1)\\> \\| \\*b\\*"));
  EXPECT_EQ(written.json["study"]["title"], evil);
}

TEST(Report, TwinsHoldTheSameTables) {
  const Written written = write(test::simulated_study());
  for (const std::string text :
       {"no difference shown", "linear probe − LoRA", "Of 31 runs, 1 failed", "expected a finite loss, got nan",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "rows · train", "lowrank compare --model"}) {
    EXPECT_THAT(written.html, HasSubstr(escape_html(text)));
    EXPECT_TRUE(written.markdown.find(escape_markdown(text)) != std::string::npos || written.markdown.find(text) != std::string::npos)
        << text;
  }
  EXPECT_EQ(written.json["summary"]["pairs"].size(), 10u);
  EXPECT_EQ(written.json["summary"]["methods"].size(), 5u);
  EXPECT_EQ(written.json["runs"].size(), 31u);
  EXPECT_FALSE(written.json["runs"][0].contains("item_scores"));
}

TEST(Report, EveryTableRowHasEveryColumn) {
  const Study study = test::simulated_study();
  const Document document = make_document(study, summarize(study, kQuick));
  for (const Section& section : document.sections) {
    for (const Block& block : section.blocks) {
      for (const auto& row : block.table.rows) EXPECT_EQ(row.size(), block.table.columns.size()) << section.id;
    }
  }
}

TEST(Report, ChangedConditionsAreMeansOverSeeds) {
  Study study = test::simulated_study(2);
  EXPECT_FALSE(conditions_section(study, summarize(study, kQuick)));
  for (study::Run& run : study.runs) {
    if (run.tested()) run.under = {{"rotation 15°", run.seed == 1 ? 0.5 : 0.6}, {"grey", 0.25}};
  }
  const auto section = conditions_section(study, summarize(study, kQuick));
  ASSERT_TRUE(section);
  const Table& table = section->blocks.back().table;
  ASSERT_EQ(table.rows.size(), 4U);
  EXPECT_EQ(table.columns.size(), 6U);
  for (const auto& row : table.rows) EXPECT_EQ(row.size(), 6U);
  EXPECT_EQ((std::pair{table.rows[1][0], table.rows[1][2]}), (std::pair<std::string, std::string>{"rotation 15°", "55.0 %"}));
  EXPECT_EQ(table.rows[3][2], "40.0 %");
  EXPECT_THAT(write(study).html, HasSubstr("Under changed conditions"));
  EXPECT_EQ(run_from_json(to_json(study.runs[3]), "again").under, study.runs[3].under);
}

TEST(Report, EqualStudiesGiveEqualBytes) { EXPECT_EQ(write(test::simulated_study()).html, write(test::simulated_study()).html); }

TEST(Report, WorksForOneSeedOneMethodAndNone) {
  EXPECT_THAT(write(test::simulated_study(1)).html, HasSubstr("one seed: cannot tell"));
  Study single = test::simulated_study(3);
  std::erase_if(single.runs, [](const study::Run& run) { return run.method != "lora"; });
  EXPECT_THAT(write(single).html, HasSubstr("the only method with a tested run"));
  single.runs.clear();
  EXPECT_THAT(write(single).html, HasSubstr("no method has a tested run"));
}

TEST(Report, CurvesEndWhereTheFirstSeedStopped) {
  Study study = test::simulated_study();
  for (study::Run& run : study.runs) {
    if (run.method == "dora" && run.tested() && run.seed == 2) run.curve.resize(5);
  }
  const Json data = chart_data(study, summarize(study, kQuick));
  EXPECT_EQ(data["methods"][2]["curve"].size(), 5u);
  EXPECT_EQ(data["methods"][1]["curve"].size(), 12u);
  const Json& point = data["methods"][1]["curve"][0];
  EXPECT_LE(point["low"].get<double>(), point["mean"].get<double>());
  EXPECT_LE(point["mean"].get<double>(), point["high"].get<double>());
}

TEST(Format, NumbersAsTheyAreRead) {
  EXPECT_EQ(percent(0.8431), "84.3 %");
  EXPECT_EQ(percent(kUnknown), "–");
  EXPECT_EQ(points(0.0081), "+0.8");
  EXPECT_EQ(points(-0.0081), "−0.8");
  EXPECT_EQ(points(-0.0001), "0.0");
  EXPECT_EQ(points_range({-0.003, 0.019}), "−0.3 to +1.9");
  EXPECT_EQ(count(1234567), "1,234,567");
  EXPECT_EQ(count(-1234), "-1,234");
  EXPECT_EQ(count(123), "123");
  EXPECT_EQ(bytes(999), "999 B");
  EXPECT_EQ(bytes(2.1e6), "2.10 MB");
  EXPECT_EQ(bytes(90.9e6), "90.9 MB");
  EXPECT_EQ(duration(61.24), "61.2 s");
  EXPECT_EQ(duration(125), "2 min 5 s");
  EXPECT_EQ(duration(7260), "2 h 1 min");
  EXPECT_EQ(rate(5e-4), "5e-4");
  EXPECT_EQ(rate(1e-3), "1e-3");
  EXPECT_EQ(rate(2.5e-5), "2.5e-5");
  EXPECT_EQ(p_text(0.0004), "<0.001");
}

}  // namespace
}  // namespace lowrank::study

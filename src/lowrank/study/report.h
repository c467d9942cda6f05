// The report of a study: report.html (one page that opens offline), report.md and report.json, each written atomically.
//
// All three come from one Document, so their texts and tables agree. The page holds Chart.js (MIT) and its own style and script,
// embedded in the program at build time; nothing is loaded from anywhere. Every text of the user is escaped.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lowrank/study/summary.h"

namespace lowrank::study {

struct Column {
  std::string title;
  bool numeric = true;
};

struct Table {
  std::string caption;
  std::vector<Column> columns;                 // the first one heads its row
  std::vector<std::vector<std::string>> rows;  // plain text
  int highlight = -1;                          // row of the recommended method
};

/// A row a caption, a picture a column; "" where there is none.
struct PictureTable {
  struct Row {
    std::string caption;
    std::vector<std::string> files, bytes;  // below the report's folder, and the PNGs' content
  };
  std::string caption;
  std::vector<std::string> columns;
  std::vector<Row> rows;
};

/// One part of a section. A figure is drawn by the page's script from chart_data(); elsewhere it is left out.
struct Block {
  enum class Kind { paragraph, list, table, figure, code, pictures } kind = Kind::paragraph;
  std::string text;                // paragraph, code, or a figure's caption
  std::string id;                  // figure: "curves", "differences" or "costs"
  std::vector<std::string> items;  // list
  Table table;
  PictureTable pictures;  // in the page itself; in Markdown links to the files
};

struct Section {
  std::string id, title;
  std::vector<Block> blocks;
  bool folded = false;  // closed at first on the page
};

struct Document {
  std::string title, subtitle, recommendation;
  std::vector<std::string> cautions, notes;
  std::vector<Section> sections;
};

/// The mean test score of each method under each changed condition; no section when no run was tested so.
std::optional<Section> conditions_section(const Study& study, const Summary& summary);

/// `folder`: where a study's pictures are; empty for a study without.
Document make_document(const Study& study, const Summary& summary, const std::filesystem::path& folder = {});
std::string render_html(const Document& document, const Json& chart_data);
std::string render_markdown(const Document& document);

/// What the figures show: curves (mean and range over seeds), differences against the reference, cost against quality.
Json chart_data(const Study& study, const Summary& summary);

/// The JSON twin: the study without its runs' test items (those stay in runs/), and the summary with every figure of the tables.
Json report_json(const Study& study, const Summary& summary);

struct ReportFiles {
  std::filesystem::path html, markdown, json;
};

/// summarize(study), then writes the three files into `folder` (created when missing).
ReportFiles write_report(const std::filesystem::path& folder, const Study& study, const SummaryOptions& options = {});

}  // namespace lowrank::study

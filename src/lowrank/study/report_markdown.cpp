#include "lowrank/study/format.h"
#include "lowrank/study/report.h"

namespace lowrank::study {

namespace {

std::string render(const Table& table) {
  std::string text, rule;
  for (const Column& column : table.columns) {
    text += "| " + escape_markdown(column.title) + " ";
    rule += column.numeric ? "|--:" : "|---";
  }
  text += "|\n" + rule + "|\n";
  for (size_t row = 0; row < table.rows.size(); ++row) {
    const bool bold = static_cast<int>(row) == table.highlight;
    for (const std::string& cell : table.rows[row]) {
      const std::string escaped = escape_markdown(cell);
      text += bold && !escaped.empty() ? "| **" + escaped + "** " : "| " + escaped + " ";
    }
    text += "|\n";
  }
  return text;
}

std::string render(const PictureTable& sheet) {
  std::string text = "**" + escape_markdown(sheet.caption) + "**\n\n| Caption ", rule = "|---";
  for (const std::string& column : sheet.columns) {
    text += "| " + escape_markdown(column) + " ";
    rule += "|---";
  }
  text += "|\n" + rule + "|\n";
  for (const PictureTable::Row& row : sheet.rows) {
    text += "| " + escape_markdown(row.caption) + " ";
    for (size_t i = 0; i < row.files.size(); ++i) text += row.bytes[i].empty() ? "| – " : "| ![](" + row.files[i] + ") ";
    text += "|\n";
  }
  return text;
}

std::string render(const Block& block) {
  switch (block.kind) {
    case Block::Kind::paragraph: return escape_markdown(block.text) + "\n";
    case Block::Kind::code: return "    " + block.text + "\n";
    case Block::Kind::figure: return "";
    case Block::Kind::table: return "**" + escape_markdown(block.table.caption) + "**\n\n" + render(block.table);
    case Block::Kind::pictures: return render(block.pictures);
    case Block::Kind::list: break;
  }
  std::string text;
  for (const std::string& item : block.items) text += "* " + escape_markdown(item) + "\n";
  return text;
}

}  // namespace

std::string render_markdown(const Document& document) {
  std::string text = "# " + escape_markdown(document.title) + "\n\n" + escape_markdown(document.subtitle) + "\n\n**" +
                     escape_markdown(document.recommendation) + "**\n";
  for (const auto* list : {&document.cautions, &document.notes}) {
    if (!list->empty()) text += "\n";
    for (const std::string& item : *list) text += "* " + escape_markdown(item) + "\n";
  }
  for (const Section& section : document.sections) {
    text += "\n## " + escape_markdown(section.title) + "\n";
    for (const Block& block : section.blocks) {
      if (const std::string part = render(block); !part.empty()) text += "\n" + part;
    }
  }
  return text;
}

}  // namespace lowrank::study

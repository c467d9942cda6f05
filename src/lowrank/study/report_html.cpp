#include "lowrank/study/format.h"
#include "lowrank/study/report.h"
#include "lowrank/study/report_page.h"

namespace lowrank::study {

namespace {

std::string list(const char* css_class, const std::vector<std::string>& items) {
  if (items.empty()) return "";
  std::string html = fmt::format("<ul class=\"{}\">\n", css_class);
  for (const std::string& item : items) html += "<li>" + escape_html(item) + "</li>\n";
  return html + "</ul>\n";
}

std::string render(const Table& table) {
  const std::string caption = escape_html(table.caption);
  std::string html = fmt::format(
      "<figure class=\"table\">\n<figcaption>{0}</figcaption>\n<div class=\"scroll\" role=\"region\" "
      "tabindex=\"0\" aria-label=\"{0}\">\n<table aria-label=\"{0}\">\n<thead><tr>",
      caption);
  for (const Column& column : table.columns) {
    html += fmt::format("<th scope=\"col\"{}>{}</th>", column.numeric ? " class=\"number\"" : "", escape_html(column.title));
  }
  html += "</tr></thead>\n<tbody>\n";
  for (size_t row = 0; row < table.rows.size(); ++row) {
    const bool chosen = static_cast<int>(row) == table.highlight;
    html += chosen ? "<tr class=\"chosen\">" : "<tr>";
    for (size_t column = 0; column < table.rows[row].size(); ++column) {
      const std::string cell = escape_html(table.rows[row][column]);
      if (column == 0) {
        html += fmt::format("<th scope=\"row\">{}{}</th>", cell, chosen ? " <span class=\"badge\">recommended</span>" : "");
      } else {
        const char* kind = table.columns[column].numeric ? " class=\"number\"" : cell.size() > 48 ? " class=\"long\"" : "";
        html += fmt::format("<td{}>{}</td>", kind, cell);
      }
    }
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n</div>\n</figure>\n";
}

std::string render(const PictureTable& sheet) {
  const std::string caption = escape_html(sheet.caption);
  std::string html = fmt::format(
      "<figure class=\"table sheet\">\n<figcaption>{0}</figcaption>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
      "aria-label=\"{0}\">\n<table aria-label=\"{0}\">\n<thead><tr><th scope=\"col\">Caption</th>",
      caption);
  for (const std::string& column : sheet.columns) html += fmt::format("<th scope=\"col\">{}</th>", escape_html(column));
  html += "</tr></thead>\n<tbody>\n";
  for (const PictureTable::Row& row : sheet.rows) {
    html += fmt::format("<tr><th scope=\"row\"><span title=\"{0}\">{0}</span></th>", escape_html(row.caption));
    for (size_t i = 0; i < row.bytes.size(); ++i) {
      const std::string words = escape_html(fmt::format("{}: {}", sheet.columns[i], row.caption));
      html += row.bytes[i].empty()
                  ? "<td>–</td>"
                  : fmt::format("<td><img alt=\"{0}\" title=\"{0}\" src=\"data:image/png;base64,{1}\"></td>", words, base64(row.bytes[i]));
    }
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n</div>\n</figure>\n";
}

std::string render(const Block& block) {
  const std::string text = escape_html(block.text);
  switch (block.kind) {
    case Block::Kind::paragraph: return "<p>" + text + "</p>\n";
    case Block::Kind::code: return "<pre tabindex=\"0\"><code>" + text + "</code></pre>\n";
    case Block::Kind::table: return render(block.table);
    case Block::Kind::list: return list("plain", block.items);
    case Block::Kind::pictures: return render(block.pictures);
    case Block::Kind::figure: break;
  }
  return fmt::format(
      "<figure>\n<div class=\"controls\" id=\"{0}-controls\"></div>\n<div class=\"chart\" id=\"{0}-box\"><canvas id=\"{0}-chart\" "
      "role=\"img\" aria-label=\"{1} The tables hold the same figures.\"></canvas></div>\n<figcaption>{1}</figcaption>\n</figure>\n",
      escape_html(block.id), text);
}

std::string render(const Section& section) {
  std::string body;
  for (const Block& block : section.blocks) body += render(block);
  const std::string title = escape_html(section.title);
  if (section.folded) {
    body = fmt::format("<details>\n<summary><h2>{}</h2></summary>\n{}</details>\n", title, body);
  } else {
    body = fmt::format("<h2>{}</h2>\n{}", title, body);
  }
  return fmt::format("<section id=\"{}\">\n{}</section>\n", escape_html(section.id), body);
}

}  // namespace

std::string render_html(const Document& document, const Json& chart_data) {
  const std::string title = escape_html(document.title);
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
      title + "</title>\n<style>\n";
  html += page_style();
  html += "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>" + title + "</h1>\n<p class=\"subtitle\">" + escape_html(document.subtitle) +
          "</p>\n</header>\n<section id=\"recommendation\" aria-label=\"Recommendation\">\n<p class=\"verdict\">" +
          escape_html(document.recommendation) + "</p>\n" + list("cautions", document.cautions) + list("notes", document.notes) +
          "</section>\n<noscript><p>The figures need JavaScript; the tables hold all of their values.</p></noscript>\n";
  for (const Section& section : document.sections) html += render(section);
  html += "</main>\n<script type=\"application/json\" id=\"chart-data\">" + escape_script(chart_data.dump()) + "</script>\n<script>\n";
  html += chart_library();
  html += "\n</script>\n<script>\n";
  html += page_script();
  return html + "</script>\n</body>\n</html>\n";
}

}  // namespace lowrank::study

#include "lowrank/train/diffusion/samples_page.h"

#include "lowrank/base/html.h"

namespace lowrank::train {

namespace {

constexpr int64_t kSmall = 128;  // pixels: below, pictures are shown larger than they are

std::string cell(const SamplesPage& page, const SampleRow& row, size_t prompt) {
  const std::string text = escape_html(page.prompts[prompt]), file = row.files[prompt];
  std::string html = "<td><figure>";
  if (file.empty()) {
    html += "<p>No picture: its numbers were not finite.</p>";
  } else {
    html += fmt::format("<a href=\"{0}\"><img src=\"{0}\" alt=\"{1}, step {2}\" width=\"{3}\" height=\"{4}\" loading=\"lazy\"></a>", file,
                        text, row.step, page.width, page.height);
  }
  return html + "<figcaption>" + text + "</figcaption></figure></td>\n";
}

std::string head(const SamplesPage& page) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
      "{}<title>Samples of {}</title>\n<style>\n{}</style>\n</head>\n",
      page.grows ? "<meta http-equiv=\"refresh\" content=\"30\">\n" : "", escape_html(page.name), samples_style());
}

}  // namespace

std::string render_html(const SamplesPage& page) {
  std::string html = head(page);
  html += fmt::format("<body>\n<main>\n<header>\n<h1>Samples of {}</h1>\n<p class=\"subtitle\">{}. {}</p>\n</header>\n",
                      escape_html(page.name), escape_html(page.settings),
                      page.grows ? "Newest first; while training runs, this page loads itself again every 30 seconds." : "Newest first.");
  html += fmt::format(
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Pictures by step and prompt\">\n<table{}>\n"
      "<thead><tr><th scope=\"col\">Prompt</th>",
      page.width <= kSmall ? " class=\"small\"" : "");
  for (const std::string& prompt : page.prompts) html += fmt::format("<th scope=\"col\"><div>{}</div></th>", escape_html(prompt));
  html += "</tr></thead>\n<tbody>\n";
  for (auto row = page.rows.rbegin(); row != page.rows.rend(); ++row) {
    html += fmt::format("<tr><th scope=\"row\">step {} <span>epoch {:.2f}</span></th>\n", row->step, row->epoch);
    for (size_t i = 0; i < page.prompts.size(); ++i) html += cell(page, *row, i);
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n</div>\n</main>\n</body>\n</html>\n";
}

}  // namespace lowrank::train

// Parts of a report that are built in files of their own: what is said of drawn pictures.
#pragma once

#include "lowrank/study/report.h"

namespace lowrank::study {

Block paragraph(std::string text);
Block block(Table table);
std::string capitalized(std::string text);

/// Comparison, difference, 95 % interval, seed noise, p and verdict; `all`: also the bootstrap and the corrected interval.
Table difference_table(std::string caption, bool all);
std::vector<std::string> difference_row(const Study& study, const Difference& pair, bool all);

/// The results of a study with measures: closeness by the first, distances by all, the base and the best possible beside them.
Section closeness_section(const Study& study, const Summary& summary);
/// Every test measure after the first: closeness and paired differences.
Section measures_section(const Study& study, const Summary& summary);
/// The base's own pictures before and after. Contact sheets are read from folder/pictures; a picture that is not there is left out.
Section forgetting_section(const Study& study, const Summary& summary, const std::filesystem::path& folder);
/// Prompts whose pictures are judged by the nearest example.
Section prompts_section(const Study& study, const Summary& summary, const std::filesystem::path& folder);
/// The contact sheet of the test pictures.
Section pictures_section(const Study& study, const std::filesystem::path& folder);
/// What closeness is and how it is taken.
std::vector<std::string> measure_explanations(const Study& study);

}  // namespace lowrank::study

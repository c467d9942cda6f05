// Distances of drawn pictures as scores that the statistics of a study take: higher is better, 0 the base, 1 the best possible.
//
//   closeness of item i = (base_i − d_i) / (mean base − mean best)
//
// so that a method's mean is the share of the way from the base to the best possible that it goes, and a paired difference of two
// methods is that of their distances over a constant. Where the best possible is no closer than the base (an autoencoder that draws
// badly), the denominator is mean base alone, or 1 when that is 0.
#pragma once

#include <string>
#include <vector>

#include "lowrank/study/study_record.h"

namespace lowrank::study {

inline constexpr const char* kCloseness = "closeness";  // Study::score_name of a study with measures

double mean_of(const std::vector<double>& values);
/// The denominator.
double scale_of(const Measure& measure);
bool has_best(const Measure& measure);
/// Error{invalid_argument} unless there is a distance for each item.
std::vector<double> closeness(const Measure& measure, const std::vector<double>& distances);

/// Fills item_scores and test_score of `run` from its distances by the study's first measure.
void score_distances(Run& run, const Study& study);

/// The same study judged by one measure: item_scores and test scores are its closeness, and it has no other measure.
Study judged_by(const Study& study, const Measure& measure);

/// Mean over the tested runs of the method and over items; NaN when there is none.
double mean_distance(const Study& study, const std::string& method, const Measure& measure);

/// A/A without a training seed: the same model drawn with two sets of noise differs in closeness by less than this in 95 % of cases:
/// t(0.975, N−1)·s/√N, s the deviation of base − base_again over items. NaN when nothing was drawn again.
double drawing_noise(const Measure& measure);

}  // namespace lowrank::study

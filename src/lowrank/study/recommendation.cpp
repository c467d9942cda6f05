#include <algorithm>
#include <cmath>
#include <optional>

#include "lowrank/study/format.h"
#include "lowrank/study/summary.h"

namespace lowrank::study {

namespace {

std::string capitalized(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

const MethodSummary* best_of(const Summary& summary) {
  const MethodSummary* best = nullptr;
  for (const MethodSummary& method : summary.methods) {
    if (method.tested() && (!best || method.score.mean > best->score.mean)) best = &method;
  }
  return best;
}

bool is_candidate(const Summary& summary, const MethodSummary& method, const MethodSummary& best, double margin) {
  if (&method == &best) return true;
  if (!method.tested() || method.score.mean < best.score.mean - margin) return false;
  const auto gap = find_difference(summary, method.method, best.method);
  return gap && gap->verdict != Verdict::worse;
}

/// Smaller adapter; within 10 % of each other, less training time.
bool cheaper(const MethodSummary& a, const MethodSummary& b) {
  const double smaller = std::min(a.adapter_bytes, b.adapter_bytes), larger = std::max(a.adapter_bytes, b.adapter_bytes);
  return larger <= 1.1 * smaller ? a.seconds < b.seconds : a.adapter_bytes < b.adapter_bytes;
}

std::string reason(const Study& study, const Summary& summary, const MethodSummary& chosen, const MethodSummary& best, size_t candidates,
                   double margin) {
  const auto tested = std::count_if(summary.methods.begin(), summary.methods.end(), [](const auto& method) { return method.tested(); });
  if (tested == 1) return "it is the only method with a tested run";
  const std::string own = fmt::format("its {} ({})", study.score_name, percent(chosen.score.mean));
  if (&chosen == &best) {
    const std::string rest =
        candidates > 1
            ? fmt::format("it is the cheapest ({}, {}) of the {} methods that are not shown worse and lose at most {:.1f} points",
                          bytes(chosen.adapter_bytes), duration(chosen.seconds), candidates, 100 * margin)
            : fmt::format("every other method is shown worse or loses more than {:.1f} points", 100 * margin);
    return fmt::format("{} is the highest, and {}", own, rest);
  }
  const auto gap = find_difference(summary, chosen.method, best.method);
  return fmt::format(
      "{} is not shown different from the best, {} ({}; difference {} points, 95 % interval {}), and it is the cheapest "
      "of the {} candidates: {} against {}, trained in {} against {}",
      own, title_of(study, best.method), percent(best.score.mean), points(gap->estimate.mean), points_range(gap->estimate.interval),
      candidates, bytes(chosen.adapter_bytes), bytes(best.adapter_bytes), duration(chosen.seconds), duration(best.seconds));
}

/// What would narrow the interval of a difference to ± margin: seeds, if they can, else test items.
std::string remedy(const Estimate& estimate, double margin) {
  const double target = std::pow(margin / 1.96, 2), items = std::pow(estimate.item_error, 2), seeds = std::pow(estimate.seed_error, 2);
  if (items < 0.8 * target) {
    const double needed =
        std::max(std::ceil(seeds * static_cast<double>(estimate.seeds) / (target - items)), static_cast<double>(estimate.seeds + 1));
    return fmt::format("about {:.0f} seeds instead of {} would tell a difference of {:.1f} points", needed, estimate.seeds, 100 * margin);
  }
  const double needed = std::ceil(items * static_cast<double>(estimate.items) / (0.5 * target) / 100) * 100;
  return fmt::format("more seeds alone will not tell a difference of {:.1f} points: about {} test items instead of {} are needed",
                     100 * margin, count(needed), count(static_cast<double>(estimate.items)));
}

void caution_uncertainty(const Study& study, const Summary& summary, const MethodSummary& chosen, const MethodSummary& best, double margin,
                         std::vector<std::string>& cautions) {
  if (chosen.seeds.size() < 2) {
    cautions.push_back("With one seed a difference between methods cannot be told from chance: run three or more seeds.");
    return;
  }
  const auto gap = find_difference(summary, chosen.method, best.method);
  if (&chosen != &best && gap->estimate.interval.low < -margin) {
    cautions.push_back(fmt::format("{} may still be up to {:.1f} points worse than {}; {}.", capitalized(title_of(study, chosen.method)),
                                   -100 * gap->estimate.interval.low, title_of(study, best.method), remedy(gap->estimate, margin)));
  }
  for (const MethodSummary& other : summary.methods) {
    if (!other.tested() || is_candidate(summary, other, best, margin)) continue;
    const auto loss = find_difference(summary, other.method, best.method);
    if (loss && loss->verdict == Verdict::no_difference_shown) {
      cautions.push_back(fmt::format("{} scored {:.1f} points below {}, but is not shown worse; {}.",
                                     capitalized(title_of(study, other.method)), -100 * loss->estimate.mean, title_of(study, best.method),
                                     remedy(loss->estimate, margin)));
    }
  }
}

void caution_baselines(const Summary& summary, const MethodSummary& chosen, std::vector<std::string>& cautions) {
  if (std::isfinite(summary.majority_score) && chosen.score.interval.low <= summary.majority_score) {
    cautions.push_back(
        fmt::format("It is not shown to beat always answering the most frequent label ({}): check labels and learning rates.",
                    percent(summary.majority_score)));
  }
  const auto over_probe = chosen.method == "none" ? std::nullopt : find_difference(summary, chosen.method, "none");
  if (over_probe && over_probe->verdict != Verdict::better) {
    cautions.push_back("It is not shown better than the linear probe, which trains the head alone.");
  }
  const double agreement = chosen.forgetting.rank_agreement;
  if (std::isfinite(agreement) && agreement < 0.9) {
    cautions.push_back(
        fmt::format("With it, the similarities between the model's embeddings keep a rank agreement of only {:.2f}: switch the "
                    "adapter off where those are used.",
                    agreement));
  }
}

void caution_measures(const Study& study, const Summary& summary, const MethodSummary& chosen, std::vector<std::string>& cautions) {
  if (!study.measures.empty() && chosen.score.interval.low <= 0) {
    cautions.push_back("It is not shown to come closer to the true pictures than the model before adaptation.");
  }
  for (size_t i = 0; i < summary.measures.size(); ++i) {
    const Measure& measure = study.measures[i];
    const MethodSummary* own = find_method(summary.measures[i], chosen.method);
    if (measure.of == "forgetting" && own != nullptr && own->score.interval.high < 0) {
      cautions.push_back(
          fmt::format("With it, the base draws its own pictures worse: by {} they go {:.1f} points of the way back (95 % interval "
                      "{}). Switch the adapter off for that use.",
                      measure.title, -100 * own->score.mean, points_range(own->score.interval)));
    }
    if (i == 0 || measure.of != "test") continue;
    for (const Difference& pair : summary.measures[i].pairs) {
      const auto other = pair.first == chosen.method    ? std::optional(pair.second)
                         : pair.second == chosen.method ? std::optional(pair.first)
                                                        : std::nullopt;
      if (!other || find_difference(summary.measures[i], *other, chosen.method)->verdict != Verdict::better) continue;
      cautions.push_back(fmt::format("By {}, {} is shown better than it.", measure.title, title_of(study, *other)));
    }
  }
}

}  // namespace

Recommendation recommend(const Study& study, const Summary& summary, double margin) {
  const MethodSummary* best = best_of(summary);
  if (!best) return {"", "No recommendation: no method has a tested run.", {}};
  if (!study.measures.empty() && best->score.mean <= 0) {
    return {"",
            fmt::format(
                "No recommendation: no method comes closer to the true pictures than the model before adaptation; the best of them, {}, "
                "goes {:.1f} points of the way back.",
                title_of(study, best->method), -100 * best->score.mean),
            {}};
  }
  const MethodSummary* chosen = best;
  size_t candidates = 0;
  for (const MethodSummary& method : summary.methods) {
    if (!is_candidate(summary, method, *best, margin)) continue;
    ++candidates;
    if (cheaper(method, *chosen)) chosen = &method;
  }
  Recommendation result{.method = chosen->method};
  const std::string lead = chosen->method == "none"   ? "No adaptation is needed, use the linear probe"
                           : chosen->method == "full" ? "Use full fine-tuning"
                                                      : "Use " + title_of(study, chosen->method);
  result.sentence = lead + ": " + reason(study, summary, *chosen, *best, candidates, margin) + ".";
  caution_uncertainty(study, summary, *chosen, *best, margin, result.cautions);
  caution_baselines(summary, *chosen, result.cautions);
  caution_measures(study, summary, *chosen, result.cautions);
  return result;
}

}  // namespace lowrank::study

#include "lowrank/evaluate/scores.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/log_softmax.h>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "lowrank/base/error.h"

namespace lowrank::evaluate {

namespace {

struct Confusion {
  int64_t hit = 0, wrong = 0, missed = 0;
  bool occurs() const { return hit + wrong + missed > 0; }
  double f1() const { return occurs() ? 2.0 * static_cast<double>(hit) / static_cast<double>(2 * hit + wrong + missed) : 0.0; }
};

double mean_f1(const std::vector<Confusion>& labels) {
  double sum = 0;
  int64_t counted = 0;
  for (const Confusion& label : labels) {
    if (!label.occurs()) continue;
    sum += label.f1();
    ++counted;
  }
  return counted == 0 ? 0.0 : sum / static_cast<double>(counted);
}

std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) result[order[i]] = 0.5 * static_cast<double>(begin + end - 1);
    begin = end;
  }
  return result;
}

void finish(Scores& scores) {
  scores.name = scores.all.front().first;
  scores.primary = scores.all.front().second;
}

Scores single_label(const data::Dataset& dataset, const at::Tensor& outputs) {
  Scores scores;
  const at::Tensor logits = outputs.to(at::kFloat).contiguous(), best = logits.argmax(1);
  const at::Tensor log_p = at::log_softmax(logits, 1);
  std::vector<int64_t> truth;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const int64_t label = dataset.examples[static_cast<size_t>(i)].labels.at(0), guess = best.const_data_ptr<int64_t>()[i];
    truth.push_back(label);
    scores.predicted.push_back(static_cast<int32_t>(guess));
    scores.items.push_back(guess == label ? 1.0 : 0.0);
    scores.loss -= log_p.const_data_ptr<float>()[i * log_p.size(1) + label];
  }
  const auto n = static_cast<double>(dataset.size());
  scores.loss /= n;
  scores.all = {{"accuracy", std::accumulate(scores.items.begin(), scores.items.end(), 0.0) / n},
                {"macro_f1", macro_f1(truth, scores.predicted, logits.size(1))}};
  return scores;
}

Scores multi_label(const data::Dataset& dataset, const at::Tensor& outputs) {
  Scores scores;
  const at::Tensor logits = outputs.to(at::kFloat).contiguous();
  const int64_t classes = logits.size(1);
  std::vector<Confusion> labels(static_cast<size_t>(classes));
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const auto& wanted = dataset.examples[static_cast<size_t>(i)].labels;
    bool exact = true;
    for (int64_t c = 0; c < classes; ++c) {
      const double z = logits.const_data_ptr<float>()[i * classes + c];
      const bool truth = std::find(wanted.begin(), wanted.end(), c) != wanted.end(), guess = z > 0;
      Confusion& label = labels[static_cast<size_t>(c)];
      label.hit += truth && guess;
      label.wrong += !truth && guess;
      label.missed += truth && !guess;
      exact = exact && truth == guess;
      scores.loss += std::max(z, 0.0) - (truth ? z : 0.0) + std::log1p(std::exp(-std::abs(z)));
    }
    scores.items.push_back(exact ? 1.0 : 0.0);
  }
  Confusion all;
  for (const Confusion& label : labels) {
    all.hit += label.hit;
    all.wrong += label.wrong;
    all.missed += label.missed;
  }
  const auto n = static_cast<double>(dataset.size());
  scores.loss /= n * static_cast<double>(classes);
  scores.all = {{"micro_f1", all.f1()},
                {"macro_f1", mean_f1(labels)},
                {"exact_match", std::accumulate(scores.items.begin(), scores.items.end(), 0.0) / n}};
  return scores;
}

Scores correlation(const data::Dataset& dataset, const at::Tensor& outputs) {
  Scores scores;
  const at::Tensor values = outputs.to(at::kDouble).flatten().contiguous();
  std::vector<double> truth, guess;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    truth.push_back(dataset.examples[static_cast<size_t>(i)].value);
    guess.push_back(values.const_data_ptr<double>()[i]);
    scores.loss += (guess.back() - truth.back()) * (guess.back() - truth.back());
  }
  scores.loss /= static_cast<double>(dataset.size());
  scores.all = {{"spearman", spearman(truth, guess)}, {"pearson", pearson(truth, guess)}, {"mean_squared_error", scores.loss}};
  return scores;
}

}  // namespace

Scores score(const data::Dataset& dataset, const at::Tensor& outputs) {
  check(dataset.size() > 0, ErrorKind::invalid_argument, "score", "expected at least one item");
  check(outputs.size(0) == dataset.size(), ErrorKind::shape, "score", "expected {} rows of outputs, got {}", dataset.size(),
        outputs.size(0));
  Scores scores = dataset.task == data::Task::single_label  ? single_label(dataset, outputs)
                  : dataset.task == data::Task::multi_label ? multi_label(dataset, outputs)
                                                            : correlation(dataset, outputs);
  finish(scores);
  return scores;
}

double pearson(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n, mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0.0;
}

double spearman(const std::vector<double>& a, const std::vector<double>& b) { return pearson(ranks(a), ranks(b)); }

double macro_f1(const std::vector<int64_t>& truth, const std::vector<int32_t>& predicted, int64_t classes) {
  std::vector<Confusion> labels(static_cast<size_t>(classes));
  for (size_t i = 0; i < truth.size(); ++i) {
    const auto wanted = static_cast<size_t>(truth[i]), guess = static_cast<size_t>(predicted[i]);
    if (wanted == guess) {
      ++labels[wanted].hit;
    } else {
      ++labels[guess].wrong;
      ++labels[wanted].missed;
    }
  }
  return mean_f1(labels);
}

}  // namespace lowrank::evaluate

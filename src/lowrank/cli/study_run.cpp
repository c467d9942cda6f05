#include "lowrank/cli/study_run.h"

#include <cmath>
#include <iostream>
#include <limits>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/study/report.h"

namespace lowrank::cli {

namespace fs = std::filesystem;

namespace {

void say_run(const study::Run& run, int64_t done, int64_t total, ProgressLine& line) {
  line.clear();
  const char* phase = run.phase == study::RunPhase::search ? "search" : "test";
  const std::string head =
      fmt::format("[{}/{}] {:<6} {:<5} learning rate {:<8} seed {}", done, total, phase, run.method, run.learning_rate, run.seed);
  double best = -std::numeric_limits<double>::infinity();
  for (const auto& point : run.curve) best = std::fmax(best, study::quality(point));
  const bool by_loss = !run.curve.empty() && !std::isfinite(run.curve.front().validation_score);
  if (run.status != study::RunStatus::ok) {
    std::cerr << fmt::format("{}  {}\n", head, to_string(run.status));
  } else if (run.tested()) {
    std::cerr << fmt::format("{}  test {:.4f}  {}\n", head, run.test_score, duration_text(run.seconds));
  } else {
    std::cerr << fmt::format("{}  validation {}{:.4f}  {}\n", head, by_loss ? "loss " : "", by_loss ? -best : best,
                             duration_text(run.seconds));
  }
}

fs::path recommended_result(const study::CompareRequest& request, const study::Study& study, const study::Summary& summary) {
  for (const auto& run : study.runs) {
    if (run.tested() && run.method == summary.recommendation.method && run.seed == request.first_seed)
      return study::kept_result(request.out, run);
  }
  return {};
}

void print_summary(const study::Study& study, const study::Summary& summary) {
  std::cout << fmt::format("{:<22}{:>10}  {:<18}{:>12}{:>10}\n", "method", study.score_name, "95 % interval", "parameters", "time");
  for (const auto& method : summary.methods) {
    if (!method.tested()) continue;
    std::cout << fmt::format("{:<22}{:>10.4f}  {:<18}{:>12}{:>10}\n", title_of(study, method.method), method.score.mean,
                             fmt::format("{:.4f} to {:.4f}", method.score.interval.low, method.score.interval.high),
                             count_text(static_cast<int64_t>(method.trainable_parameters)), duration_text(method.seconds));
  }
  std::cout << "\n" << summary.recommendation.sentence << "\n";
  for (const auto& caution : summary.recommendation.cautions) std::cout << "note: " << caution << "\n";
}

int finish(const study::CompareRequest& request, const study::Study& study, bool json) {
  const study::Summary summary = study::summarize(study);
  const study::ReportFiles report = study::write_report(request.out, study);
  const auto result = recommended_result(request, study, summary);
  if (!result.empty()) write_file_atomic(request.out / "recommended.txt", result.string() + "\n");
  if (json) {
    std::cout << format_json({{"recommended", summary.recommendation.method},
                              {"reason", summary.recommendation.sentence},
                              {"result", result.string()},
                              {"report", report.html.string()},
                              {"report_json", report.json.string()}});
    return 0;
  }
  print_summary(study, summary);
  if (!result.empty()) std::cout << fmt::format("trained result: {}\n", result.string());
  std::cout << fmt::format("report: {}\n", report.html.string());
  return 0;
}

}  // namespace

int run_study(const Command& command, study::CompareRequest& request, study::StudyKind& kind, ProgressLine& line) {
  request.progress = line.sink();
  request.on_run = [&line](const study::Run& one, int64_t done, int64_t total) { say_run(one, done, total, line); };
  request.stop = &interrupt_token();
  const study::CompareResult result = study::compare(request, kind);
  line.clear();
  if (result.complete) return finish(request, result.study, command.json());
  std::cerr << "stopped; the same command goes on from here\n";
  return exit_status(ErrorKind::cancelled);
}

}  // namespace lowrank::cli

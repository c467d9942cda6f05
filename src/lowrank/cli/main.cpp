// lowrank: the program. Each verb is a file of this folder; verbs.def lists them.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <c10/util/Exception.h>
#include <iostream>
#include <new>
#include <vector>

#include "lowrank/base/error.h"
#include "lowrank/cli/terminal.h"

namespace lowrank::cli {
#define LOWRANK_VERB(name) void add_##name(CLI::App& app);
#include "lowrank/cli/verbs.def"
#undef LOWRANK_VERB
}  // namespace lowrank::cli

namespace {

int report(std::string_view kind, std::string_view text, int status) {
  std::cerr << "\nerror (" << kind << "): " << text << "\n";
  return status;
}

/// CLI11 only says that a verb is missing; the user wants to know which word was none.
void require_verb(int argc, char** argv) {
  const std::vector<std::string> verbs = {
#define LOWRANK_VERB(name) #name,
#include "lowrank/cli/verbs.def"
#undef LOWRANK_VERB
  };
  if (argc < 2 || argv[1][0] == '-' || std::find(verbs.begin(), verbs.end(), argv[1]) != verbs.end()) return;
  lowrank::fail(lowrank::ErrorKind::invalid_argument, "lowrank",
                fmt::format("expected a verb, got '{}'{}", argv[1], lowrank::did_you_mean(argv[1], verbs)),
                "lowrank --help lists the verbs");
}

int run(CLI::App& app, int argc, char** argv) {
  using lowrank::ErrorKind;
  try {
    require_verb(argc, argv);
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::RuntimeError& status) {
    return status.get_exit_code();
  } catch (const CLI::ParseError& problem) {
    if (problem.get_exit_code() == 0) return app.exit(problem);  // --help, --version
    return report("invalid_argument", std::string(problem.what()) + "\n  hint: lowrank --help, lowrank <verb> --help",
                  exit_status(ErrorKind::invalid_argument));
  } catch (const lowrank::Error& error) {
    return report(to_string(error.kind()), error.what(), exit_status(error.kind()));
  } catch (const std::bad_alloc&) {
    return report("out_of_memory", "the system gave no more memory\n  hint: a smaller --batch-size; lowrank plan shows what a run needs",
                  exit_status(ErrorKind::out_of_memory));
  } catch (const c10::Error& error) {
    return report("internal", error.what_without_backtrace(), exit_status(ErrorKind::internal));
  } catch (const std::exception& error) {
    return report("internal", error.what(), exit_status(ErrorKind::internal));
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"lowrank adapts pretrained models with LoRA, DoRA, LoKr and their relatives, and tells which one fits your data."};
  app.set_version_flag("--version", "lowrank " LOWRANK_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  lowrank compare --model MODEL --data reviews.csv --out study       which method fits this data?\n"
      "  lowrank train --model MODEL --data reviews.csv --method dora --out run\n"
      "  lowrank predict --model MODEL --adapter run/adapter --json texts.txt");
  lowrank::cli::show_log_notices();
#define LOWRANK_VERB(name) lowrank::cli::add_##name(app);
#include "lowrank/cli/verbs.def"
#undef LOWRANK_VERB
  return run(app, argc, argv);
}
